"""The two thresholds of everything-mode, chosen on images with objects.

segment-anything's own, a predicted IoU of 0.88 and a stability of 0.95, are those of a large model
that is sure of its masks; a small one finds next to nothing with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.image.suppression import Boxes, suppress
from samclip_sdk.system.progress import OnProgress
from training.real.photograph_questions import Thing

POINTS_PER_SIDE = 12
_BOX_NMS = 0.7
_SAME_IOU = 0.5
_PREDICTED_IOUS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88)
_STABILITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class Proposals:
    """The masks of one image, good and bad ones.

    Attributes:
        boxes: float32 [M,4], XYXY.
        predicted_ious: float32 [M].
        stability_scores: float32 [M].
        shows: bool [M,N], whether a mask's IoU with an object is one half or more.
    """

    boxes: np.ndarray
    predicted_ious: np.ndarray
    stability_scores: np.ndarray
    shows: np.ndarray

    def keep(self, pred_iou_thresh: float, stability_score_thresh: float) -> np.ndarray:
        """The indices of the masks that everything-mode would keep."""
        good = self.predicted_ious > (pred_iou_thresh or -np.inf)
        indices = np.flatnonzero(good & (self.stability_scores >= stability_score_thresh))
        order = indices[np.argsort(-self.predicted_ious[indices], kind="stable")].tolist()
        boxes = Boxes(self.boxes - np.array([0, 0, 1, 1], np.float32))
        return np.array(suppress(boxes, order, same_iou=_BOX_NMS), dtype=np.intp)


def calibrate_everything(
    model: SamClip, things: Iterable[Thing], *, count: int, on_progress: OnProgress
) -> dict[str, float]:
    """Chooses `pred_iou_thresh` and `stability_score_thresh` by `count` images with objects."""
    found = []
    for done, (image, objects) in enumerate(things):
        on_progress("calibrating everything", done, count)
        if len(objects):
            found.append(propose(model, image, objects))
    on_progress("calibrating everything", count, count)
    return choose_everything(found)


def propose(model: SamClip, image: np.ndarray, objects: np.ndarray) -> Proposals:
    """Asks a model for everything in an image, whatever it thinks of its masks."""
    found = model.segment_everything(
        image,
        points_per_side=POINTS_PER_SIDE,
        pred_iou_thresh=0,
        stability_score_thresh=0,
        box_nms_thresh=1,
    )
    masks, areas = np.asarray(found.masks), found.areas
    shows = np.zeros((len(found), len(objects)), bool)
    for index, each in enumerate(objects):
        common = masks[:, each].sum(axis=1)
        shows[:, index] = common >= _SAME_IOU * (areas + each.sum() - common)
    return Proposals(found.boxes, found.predicted_ious, found.stability_scores, shows)


def choose_everything(found: Sequence[Proposals]) -> dict[str, float]:
    """The pair with the best F2 of masks and objects, over all images together.

    That is five times the objects that some mask shows, over the masks and four times the objects:
    a missed object counts as four masks too many, for much of an image is there and not annotated.
    segment-anything's own pair stays where no object is shown at all.
    """
    objects = sum(each.shows.shape[1] for each in found)
    chosen, best = dict[str, float](), 0.0
    for pair in product(_PREDICTED_IOUS, _STABILITIES):
        kept = [(each, each.keep(*pair)) for each in found]
        shown = sum(int(each.shows[indices].any(axis=0).sum()) for each, indices in kept)
        masks = sum(len(indices) for _, indices in kept)
        measure = 5 * shown / max(masks + 4 * objects, 1)
        if measure > best:
            best = measure
            chosen = dict(zip(("pred_iou_thresh", "stability_score_thresh"), pair, strict=True))
    return chosen
