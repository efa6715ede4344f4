"""Average precision of objects, by the sets' own evaluators."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

Results = list[dict[str, Any]]
"""What was found: image_id, category_id, score, and segmentation or bbox, as COCO's results."""

Kind = Literal["segm", "bbox"]
By = Literal["coco", "lvis"]

LVIS_MOST = 300
"""Objects in a picture that LVIS's evaluator looks at; COCO's takes 100 of a category."""

_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_LVIS_NAMES = {"APr": "ap_rare", "APc": "ap_common", "APf": "ap_frequent"}


def average_precision(
    truth: Path | dict[str, Any], results: Results, ids: Sequence[int], *, by: By, kind: Kind
) -> dict[str, float | None]:
    """Means over categories, of the pictures `ids`; None where there is no truth.

    COCO's figures are by pycocotools, LVIS's by faster-coco-eval in LVIS's style.
    """
    if by == "lvis":
        return _of_lvis(truth, results, ids, kind=kind)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
        coco = COCO()
        coco.dataset = _read(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), kind)
        evaluation.params.imgIds = list(ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(_NAMES, map(_known, evaluation.stats[:6]), strict=True))


def _of_lvis(
    truth: Path | dict[str, Any], results: Results, ids: Sequence[int], *, kind: Kind
) -> dict[str, float | None]:
    from faster_coco_eval import COCO, COCOeval_faster

    quiet = {"print_function": lambda *_: None}
    known = COCO(_read(truth), **quiet)
    found = known.loadRes(copy.deepcopy(list(_surest(results))))
    evaluation = COCOeval_faster(known, found, kind, lvis_style=True, **quiet)
    evaluation.params.imgIds, evaluation.params.maxDets = list(ids), [LVIS_MOST]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    told = evaluation.stats_as_dict
    names = dict(
        zip(("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large"), _NAMES, strict=True)
    )
    return {own: _known(told[name]) for name, own in (names | _LVIS_NAMES).items()}


def _surest(results: Results) -> Iterator[dict[str, Any]]:
    """The surest objects of each picture, as many as LVIS's evaluator looks at."""
    seen: dict[int, int] = {}
    for each in sorted(results, key=lambda each: -each["score"]):
        seen[each["image_id"]] = seen.get(each["image_id"], 0) + 1
        if seen[each["image_id"]] <= LVIS_MOST:
            yield each


def _read(truth: Path | dict[str, Any]) -> dict[str, Any]:
    return json.loads(truth.read_bytes()) if isinstance(truth, Path) else copy.deepcopy(truth)


def _known(value: float) -> float | None:
    """Evaluators say -1 where there is no truth."""
    return None if value < 0 else float(value)
