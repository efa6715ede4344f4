"""Average precision of objects, by faster-coco-eval: as COCO counts it, or LVIS."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

Results = list[dict[str, Any]]
"""What was found: image_id, category_id, score, and segmentation or bbox, as COCO's results."""

Kind = Literal["segm", "bbox"]
By = Literal["coco", "lvis"]

LVIS_MAX = 300
"""Objects in an image that LVIS's evaluator looks at; COCO's takes 100 of a category."""

_NAMES = {
    "AP_all": "ap",
    "AP_50": "ap50",
    "AP_75": "ap75",
    "AP_small": "ap_small",
    "AP_medium": "ap_medium",
    "AP_large": "ap_large",
    "APr": "ap_rare",
    "APc": "ap_common",
    "APf": "ap_frequent",
}


def average_precision(
    truth: Path | dict[str, Any], results: Results, ids: Sequence[int], *, by: By, kind: Kind
) -> dict[str, float | None]:
    """Means over categories, of the images `ids`; None where there is no truth."""
    from faster_coco_eval import COCO, COCOeval_faster

    quiet = {"print_function": lambda *_: None}
    known = COCO(json.loads(truth.read_bytes()) if isinstance(truth, Path) else truth, **quiet)
    found = known.loadRes(copy.deepcopy([*_surest(results)] if by == "lvis" else results))
    evaluation = COCOeval_faster(known, found, kind, lvis_style=by == "lvis", **quiet)
    evaluation.params.imgIds = list(ids)
    if by == "lvis":
        evaluation.params.maxDets = [LVIS_MAX]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    told = evaluation.stats_as_dict
    # Evaluators say -1 where there is no truth.
    return {
        own: None if told[name] < 0 else float(told[name])
        for name, own in _NAMES.items()
        if name in told
    }


def _surest(results: Results) -> Iterator[dict[str, Any]]:
    """The surest objects of each image, as many as LVIS's evaluator looks at."""
    seen: dict[int, int] = {}
    for each in sorted(results, key=lambda each: -each["score"]):
        seen[each["image_id"]] = seen.get(each["image_id"], 0) + 1
        if seen[each["image_id"]] <= LVIS_MAX:
            yield each
