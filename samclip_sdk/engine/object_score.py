"""The score of an object: how likely it is right."""

from __future__ import annotations

import math

from samclip_sdk.bundle.manifest import ObjectScore

LEAST_FIT = 1e-4
"""The least score of a label that `object_score` tells from 0; 1 less it is the most."""


def object_score(
    label_score: float, predicted_iou: float, stability: float, *, calibration: ObjectScore | None
) -> float:
    """The probability that an object is right; the product of the three, if not calibrated."""
    predicted = min(max(predicted_iou, 0.0), 1.0)
    if calibration is None:
        return label_score * predicted * stability
    fits = min(max(label_score, LEAST_FIT), 1 - LEAST_FIT)
    logit = (
        calibration.label_score * math.log(fits / (1 - fits))
        + calibration.predicted_iou * predicted
        + calibration.stability_score * stability
        + calibration.bias
    )
    return 1 / (1 + math.exp(-max(-80.0, min(80.0, logit))))
