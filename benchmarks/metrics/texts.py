"""Masks of texts: which present and absent labels get one, and what the masks are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.intervals import Bootstrap, Estimate, area_under_curve, matthews, ratio
from benchmarks.metrics.masks import iou
from training.asked_images import AskedImage

TEXT_ROW: list[tuple[str, Any]] = [
    ("owner", int),
    ("present", bool),
    ("nearest", bool),
    ("presence", float),
    ("iou", float),
    ("mask", bool),
]
"""What a label got in an image, whatever its presence; an empty mask is none.

`nearest` is the first absent label of an image: of drawings, the nearest by text embedding.
"""

PAIR_ROW: list[tuple[str, Any]] = [
    ("owner", int),
    ("name", object),
    ("present", bool),
    ("presence", float),
]
"""An image and a name that it shows, or is known not to show."""

_CURVE_POINTS = 51


def judge_texts(
    owner: int, question: AskedImage, *, masks: Sequence[np.ndarray], presence: np.ndarray
) -> Iterator[tuple[object, ...]]:
    """The rows of a mask, bool [H,W], and a presence for each label that an image was asked."""
    count = len(question.present)
    for index, mask in enumerate(masks):
        present = index < count
        worth = iou(mask, question.masks[index]) if present else 0.0
        yield owner, present, index == count, presence[index], worth, mask.any()


def text_figures(
    table: np.ndarray, bootstrap: Bootstrap, *, threshold: float
) -> dict[str, float | Estimate | None]:
    """The figures of labels that count as found from a presence on. Labels are pooled.

    `miou` counts an absent label that got a mask as one more IoU of 0, `miou_present` is the plain
    mean over present labels, `ungated` the same whatever the presence, `iou_found` over those that
    got a mask. `found` is the share of the present labels that got a mask, `false` that of the
    absent ones (SA-Co's IL_FPR), `false_nearest` of the nearest, and `il_mcc` the correlation of
    what was found with what is there. Without a present label there is no figure.
    """
    there, near = table["present"], table["nearest"]
    found = table["mask"] & (table["presence"] >= threshold)
    right, worth = found & there, table["iou"] * (table["mask"] & there)
    if not there.any():
        return {}
    pairs = {
        "miou": (worth * found, there | found),
        "miou_present": (worth * found, there),
        "ungated": (worth, there),
        "iou_found": (worth * found, right),
        "found": (right, there),
        "false": (found & ~there, ~there),
        "false_nearest": (found & near, near),
    }
    statistics = {
        name: ratio(above.astype(np.float64), below.astype(np.float64))
        for name, (above, below) in pairs.items()
    }
    statistics["il_mcc"] = matthews(found, there)
    owners = table["owner"]
    return {
        "present": int(there.sum()),
        "absent": int((~there).sum()),
        **{name: bootstrap.estimate(each, owners=owners) for name, each in statistics.items()},
    }


def presence_figures(table: np.ndarray, bootstrap: Bootstrap) -> dict[str, float | Estimate | None]:
    """How well presence tells images that show a name from those that do not: `auc`."""
    there = table["present"]
    area = area_under_curve(table["presence"], there)
    auc = bootstrap.estimate(area, owners=table["owner"]) if len(table) else None
    if auc is None:
        return {}
    counts = {"present": int(there.sum()), "absent": int((~there).sum())}
    return {"names": len(set(table["name"])), **counts, "auc": auc}


def curve(table: np.ndarray) -> Iterator[tuple[float, dict[str, float]]]:
    """What presence thresholds would give that part all labels evenly, the lowest first."""
    there = table["present"]
    count, absent = int(there.sum()), int((~there).sum())
    if not count or not absent:
        return
    shares = np.linspace(0, 1, _CURVE_POINTS)
    for threshold in np.unique(np.quantile(table["presence"], shares)).tolist():
        found = table["mask"] & (table["presence"] >= threshold)
        right, wrong = found & there, int((found & ~there).sum())
        worth = float(table["iou"][right].sum())
        figures = {"found": int(right.sum()) / count, "false": wrong / absent}
        figures |= {"miou": worth / (count + wrong), "miou_present": worth / count}
        yield threshold, figures
