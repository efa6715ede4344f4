"""How score maps become masks: what was asked; the model's calibration gives the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration, ModelInfo
from samclip_sdk.engine.queries import POINTS_PER_CLASS, LabelQuery


@dataclass(frozen=True)
class TextToMaskOptions:
    """How score maps become masks.

    Attributes:
        presence_threshold: 0..1, the least presence of a label that is in the image: one number,
            or float32 [K], one for each label.
        mask_threshold: the logit a pixel must exceed.
        points_per_class: the most points of a label.
        refine: whether the mask decoder draws the masks; if not, the CLIP head alone does.
    """

    presence_threshold: float | NDArray[np.float32]
    mask_threshold: float
    points_per_class: int
    refine: bool

    @classmethod
    def of_query(
        cls, query: LabelQuery, *, manifest: ModelInfo, presence: float | NDArray[np.float32]
    ) -> TextToMaskOptions:
        """Replaces what was not asked by the model's calibration."""
        by_default = manifest.masks.mask_threshold
        if not query.refine:
            by_default = _logit(manifest.calibration.head_only_threshold)
        return cls(
            presence_threshold=presence,
            mask_threshold=by_default if query.mask_threshold is None else query.mask_threshold,
            points_per_class=query.points_per_class or POINTS_PER_CLASS,
            refine=query.refine,
        )

    def threshold_of(self, index: int) -> float:
        """The least presence of one of the labels."""
        thresholds = np.ravel(self.presence_threshold)
        return float(thresholds[index if len(thresholds) > 1 else 0])

    def of_label(self, index: int) -> TextToMaskOptions:
        """The options for one of the labels, with its own threshold."""
        return replace(self, presence_threshold=self.threshold_of(index))


def default_min_score(calibration: Calibration, *, min_score: float | None) -> float:
    """The least score of an object that is told: the caller's, or the calibrated one."""
    if min_score is not None:
        return min_score
    found = calibration.proposed_objects or calibration.objects
    return 0.0 if found is None else found.min_score


def _logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))
