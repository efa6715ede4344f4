"""The score of an object: the probability that it is right, fitted to the answers of the model.

An object of a label is right if its IoU with an object of that name is one half or more. A logistic
regression weighs the three numbers that the model gives of an object. The least score that is told
by default is the lowest one with the precision that is asked for, in steps of .05.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import ObjectScore
from samclip_sdk.engine.object_score import LEAST_FIT, Numbers, object_score
from samclip_sdk.engine.one_pass import proposals_of
from samclip_sdk.picture.masks import mask_ious
from samclip_sdk.picture.proposals import box_scores
from samclip_sdk.system.progress import OnProgress, no_progress
from training.asked_pictures import NamedObjects
from training.thresholds import fit_logistic

SAME_IOU = 0.5
_RIDGE = 0.1  # of an object: few pictures may tell right from wrong without error

_LEAST_SCORES = np.arange(1, 20) / 20
"""The least scores that are tried: a few hundred objects do not tell finer steps apart."""


@dataclass(frozen=True)
class Judged:
    """The objects that were found in pictures, each right or wrong.

    Attributes:
        numbers: float64 [N,4], as `Numbers`.
        right: bool [N].
        wanted: how many objects there are to find.
    """

    numbers: np.ndarray
    right: np.ndarray
    wanted: int


def judge(
    model: SamClip,
    pictures: Iterable[NamedObjects],
    *,
    count: int,
    on_progress: OnProgress = no_progress,
) -> Judged:
    """Asks a model for the names in each picture, at most `count`, and judges all objects it finds.

    An object may be found once: of two masks that show it, the one with the higher score is right.
    """
    numbers, right, wanted = list[np.ndarray](), list[bool](), 0
    for done, each in enumerate(pictures):
        on_progress("calibrating objects", done, count)
        wanted += len(each.names)
        labels = sorted(set(each.names))
        if labels:
            embedding = model.encode_image(each.image)
            found = model.segment_instances(embedding, labels, min_score=0.0)
            proposed = box_scores(found.boxes, proposals_of(embedding))
            told = (found.label_scores, found.predicted_ious, found.stability_scores, proposed)
            numbers.append(np.stack(told, axis=1).astype(np.float64))
            right += right_objects(found.labels, np.asarray(found.masks), each).tolist()
    on_progress("calibrating objects", count, count)
    return Judged(np.concatenate([np.zeros((0, 4)), *numbers]), np.array(right, bool), wanted)


def right_objects(labels: Sequence[str], masks: np.ndarray, shown: NamedObjects) -> np.ndarray:
    """Which of N objects that were found are right, bool [N]; of one that is shown, the first.

    The labels and the masks bool [N,H,W] begin with the best object's.
    """
    ious = mask_ious(masks, shown.masks)
    ious[np.array(labels, str)[:, None] != np.array(shown.names, str)] = 0
    right = np.zeros(len(labels), bool)
    for place, own in enumerate(ious):
        right[place] = own.max(initial=0) >= SAME_IOU
        if right[place]:
            ious[:, own.argmax()] = 0
    return right


def fit_object_score(judged: Judged, *, precision: float) -> ObjectScore | None:
    """Fits the probability that an object is right; None if all objects are right, or none is.

    The share `precision` of the objects that are told by default are right, at least; if no score
    has it, the best one that is left counts.
    """
    if judged.right.all() or not judged.right.any():
        return None
    # As `object_score` weighs them.
    fits = np.clip(judged.numbers[:, 0], LEAST_FIT, 1 - LEAST_FIT)
    logits, predicted = np.log(fits / (1 - fits)), np.clip(judged.numbers[:, 1], 0, 1)
    design = np.column_stack([logits, predicted, judged.numbers[:, 2:], np.ones(len(fits))])
    right = judged.right.astype(np.float64)
    theta = fit_logistic(design, right, weights=np.ones(len(right)), ridge=_RIDGE)
    names = (*Numbers._fields, "bias")
    fitted = ObjectScore(**dict(zip(names, theta.tolist(), strict=True)), min_score=0.5)
    scores = np.array(
        [object_score(Numbers(*row), calibration=fitted) for row in judged.numbers.tolist()]
    )
    told = [judged.right[scores >= least] for least in _LEAST_SCORES]
    precisions = np.array([each.mean() if len(each) else 0.0 for each in told])
    good = np.flatnonzero(precisions >= precision)
    place = int(good[0]) if len(good) else int(precisions.argmax())
    return fitted.model_copy(update={"min_score": float(_LEAST_SCORES[place])})
