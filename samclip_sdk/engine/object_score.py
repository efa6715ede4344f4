"""The score of an object: how likely it is right."""

from __future__ import annotations

import math
from typing import NamedTuple

from samclip_sdk.bundle.manifest import ObjectScore, ProposedObjectScore

MIN_FIT = 1e-4
"""The least score of a label that `object_score` tells from 0; 1 less it is the most."""


class Numbers(NamedTuple):
    """What the model tells of an object; the last two count only if it proposes boxes.

    Attributes:
        label_score: how well the label fits, 0..1.
        predicted_iou: of its mask.
        stability_score: of its mask, 0..1.
        proposal_score: how likely its box shows one whole thing, see `proposals.box_scores`.
        label_share: of what the label scores in the image, the share that its mask covers, 0..1.
    """

    label_score: float
    predicted_iou: float
    stability_score: float
    proposal_score: float = 0.0
    label_share: float = 0.0


def object_score(numbers: Numbers, *, calibration: ObjectScore | None) -> float:
    """The probability that an object is right.

    If it is not calibrated, it is the product of the first three numbers.
    """
    predicted = min(max(numbers.predicted_iou, 0.0), 1.0)
    if calibration is None:
        return numbers.label_score * predicted * numbers.stability_score
    fits = min(max(numbers.label_score, MIN_FIT), 1 - MIN_FIT)
    logit = (
        calibration.label_score * math.log(fits / (1 - fits))
        + calibration.predicted_iou * predicted
        + calibration.stability_score * numbers.stability_score
        + calibration.bias
    )
    if isinstance(calibration, ProposedObjectScore):
        logit += calibration.proposal_score * numbers.proposal_score
        logit += calibration.label_share * numbers.label_share
    return 1 / (1 + math.exp(-max(-80.0, min(80.0, logit))))
