"""The score of an object: the probability that it is right, fitted to the answers of the model.

An object of a label is right if its IoU with an object of that name is one half or more. A logistic
regression weighs the three numbers that the model gives of an object. The least score that is told
by default is the lowest one with the precision that is asked for, in steps of .05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import ObjectScore, ProposedObjectScore
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.instances import find_objects
from samclip_sdk.engine.object_score import MIN_FIT, Numbers, object_score
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import InstanceQuery
from samclip_sdk.engine.views import open_views
from samclip_sdk.image.masks import mask_ious
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.system.progress import OnProgress, no_progress
from training.asked_images import NamedObjects
from training.thresholds import fit_logistic

SAME_IOU = 0.5
_RIDGE = 0.1  # of an object: few images may tell right from wrong without error

_FITS = 3  # of the scores of proposed objects, each to what the one before leaves
_GUESS = {"proposal_score": 5.0, "label_share": 2.0}
_GUESS_BIAS = -3.0  # as much as they add for a common object

Score = TypeVar("Score", bound=ObjectScore)

_MIN_SCORES = np.arange(1, 20) / 20
"""The least scores that are tried: a few hundred objects do not tell finer steps apart."""


@dataclass(frozen=True)
class Judged:
    """The objects that were found in images, each right or wrong.

    Attributes:
        numbers: float64 [N,5], as `Numbers`.
        right: bool [N].
        wanted: how many objects there are to find.
    """

    numbers: np.ndarray
    right: np.ndarray
    wanted: int


def judge(
    model: SamClip,
    images: Iterable[NamedObjects],
    *,
    count: int,
    on_progress: OnProgress = no_progress,
) -> Judged:
    """Asks a model for the names in each image, at most `count`, and judges all objects it finds.

    An object may be found once: of two masks that show it, the one with the higher score is right.
    """
    engine = Engine(model.source)
    numbers, right, wanted = list[Numbers](), list[bool](), 0
    for done, each in enumerate(images):
        on_progress("calibrating objects", done, count)
        wanted += len(each.names)
        labels = sorted(set(each.names))
        if labels:
            one, query = Pass(engine, each.image), InstanceQuery(labels=labels, min_score=0.0)
            text, views = one.embed_labels(labels), open_views(one, None)
            found = find_objects(views, text, one.options(query), max_instances=query.max_instances)
            numbers += [object_.numbers for object_ in found]
            masks = PackedMasks(one.size, tuple(object_.mask for object_ in found))
            names = [labels[object_.label_index] for object_ in found]
            right += right_objects(names, np.asarray(masks), each).tolist()
    on_progress("calibrating objects", count, count)
    rows = np.array(numbers, np.float64).reshape(-1, len(Numbers._fields))
    return Judged(rows, np.array(right, bool), wanted)


def right_objects(labels: Sequence[str], masks: np.ndarray, shown: NamedObjects) -> np.ndarray:
    """Which of N objects that were found are right, bool [N]; of one that is shown, the first.

    The labels and the masks bool [N,H,W] begin with the best object's.
    """
    ious = mask_ious(masks, shown.masks)
    ious[np.array(labels, str)[:, None] != np.array(shown.names, str)] = 0
    right = np.zeros(len(labels), bool)
    for index, own in enumerate(ious):
        right[index] = own.max(initial=0) >= SAME_IOU
        if right[index]:
            ious[:, own.argmax()] = 0
    return right


def fit_object_score(judged: Judged, *, precision: float) -> ObjectScore | None:
    """Fits the probability that an object is right; None if all objects are right, or none is.

    The share `precision` of the objects that are told by default are right, at least; if no score
    has it, the best one that is left counts.
    """
    return _fit(judged, ObjectScore, precision=precision)


def fit_proposed_objects(
    judge_with: Callable[[ProposedObjectScore], Judged], *, start: ObjectScore, precision: float
) -> ProposedObjectScore | None:
    """The same where proposed boxes are candidates, too.

    Which candidates are left depends on their scores: the first ones are `start`'s, with a guess.

    Args:
        judge_with: judges the objects that a model finds with such scores.
        start: the score of a label's parts alone.
        precision: as of `fit_object_score`.
    """
    fitted: ProposedObjectScore | None = ProposedObjectScore(
        **start.model_dump() | _GUESS | {"bias": start.bias + _GUESS_BIAS}
    )
    for _ in range(_FITS):
        if fitted is not None:
            fitted = _fit(judge_with(fitted), ProposedObjectScore, precision=precision)
    return fitted


def _fit(judged: Judged, kind: type[Score], *, precision: float) -> Score | None:
    if judged.right.all() or not judged.right.any():
        return None
    names = [each for each in Numbers._fields if each in kind.model_fields]
    # As `object_score` weighs them.
    fits = np.clip(judged.numbers[:, 0], MIN_FIT, 1 - MIN_FIT)
    logits, predicted = np.log(fits / (1 - fits)), np.clip(judged.numbers[:, 1], 0, 1)
    others = judged.numbers[:, 2 : len(names)]
    design = np.column_stack([logits, predicted, others, np.ones(len(fits))])
    right = judged.right.astype(np.float64)
    theta = fit_logistic(design, right, weights=np.ones(len(right)), ridge=_RIDGE)
    fitted = kind(**dict(zip((*names, "bias"), theta.tolist(), strict=True)), min_score=0.5)
    rows = [Numbers(*row) for row in judged.numbers.tolist()]
    scores = np.array([object_score(row, calibration=fitted) for row in rows])
    told = [judged.right[scores >= minimum] for minimum in _MIN_SCORES]
    precisions = np.array([each.mean() if len(each) else 0.0 for each in told])
    good = np.flatnonzero(precisions >= precision)
    index = int(good[0]) if len(good) else int(precisions.argmax())
    return fitted.model_copy(update={"min_score": float(_MIN_SCORES[index])})
