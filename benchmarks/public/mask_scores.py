"""Mask AP by the sets' own evaluators: pycocotools for COCO, the lvis package for LVIS v1."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.public.files import DatasetError

Results = list[dict[str, Any]]
Score = Callable[[Path, Results, Sequence[int]], dict[str, float | None]]
"""Annotation file, results (image_id, category_id, segmentation, score), ids of the pictures that
were asked -> the fields of `Instances` that are average precisions."""

# Field -> name in LVIS's results; the first six are COCO's too, in this order.
_NAMES = {
    **{"ap": "AP", "ap50": "AP50", "ap75": "AP75"},
    **{"ap_small": "APs", "ap_medium": "APm", "ap_large": "APl"},
    **{"ap_rare": "APr", "ap_common": "APc", "ap_frequent": "APf"},
}


def coco_score() -> Score:
    """Judges by COCOeval; refuses a missing pycocotools now, not after hours of masks."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise DatasetError("pycocotools is not installed: pip install pycocotools") from error

    def score(annotations: Path, results: Results, ids: Sequence[int]) -> dict[str, float | None]:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
            truth = COCO(str(annotations))
            evaluation = COCOeval(truth, truth.loadRes(results), "segm")
            evaluation.params.imgIds = list(ids)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return dict(zip(_NAMES, map(_share, evaluation.stats[:6]), strict=False))

    return score


def lvis_score() -> Score:
    """Judges by LVISEval; refuses a missing lvis package."""
    try:
        import lvis
    except ImportError as error:
        # Without its dependencies: they name an OpenCV that overwrites the headless one.
        raise DatasetError(
            "the lvis package is not installed: pip install --no-deps lvis && "
            "pip install pycocotools matplotlib"
        ) from error

    def score(annotations: Path, results: Results, ids: Sequence[int]) -> dict[str, float | None]:
        with _old_numpy():
            truth = lvis.LVIS(str(annotations))
            evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, results), "segm")
            evaluation.params.img_ids = list(ids)
            evaluation.run()
        found = evaluation.get_results()
        return {field: _share(found[name]) for field, name in _NAMES.items()}

    return score


@contextlib.contextmanager
def _old_numpy() -> Iterator[None]:
    """The newest lvis, 0.5.3, says `np.float` and `Logger.warn`, which are gone or going."""
    missing = "float" not in vars(np)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if missing:
            setattr(np, "float", float)  # noqa: B010 (mypy knows that numpy has none)
        try:
            yield
        finally:
            if missing:
                delattr(np, "float")


def _share(value: float) -> float | None:
    """Both evaluators say -1 where there is no truth to judge by."""
    return None if value < 0 else float(value)
