"""A caller's options for text-to-mask, checked; the model's calibration gives the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration, ModelInfo
from samclip_sdk.errors import PromptError
from samclip_sdk.system.arguments import check_flag, check_integer, finite_number

MAX_INSTANCES = 50
"""The default for the most objects in a result."""

POINTS_PER_CLASS = 3
"""The default for the most points that the mask decoder gets for a label."""


@dataclass(frozen=True)
class TextToMaskOptions:
    """How score maps become masks.

    Attributes:
        presence_threshold: 0..1, the least presence of a label that is in the image: one number,
            or float32 [K], one for each label.
        mask_threshold: the logit a pixel must exceed.
        points_per_class: the most points of a label.
        refine: whether the mask decoder draws the masks; if not, the CLIP head alone does.
        return_soft_masks: whether the answer has the probabilities of pixels, too.

    Raises:
        PromptError: a value is invalid.
    """

    presence_threshold: float | NDArray[np.float32]
    mask_threshold: float
    points_per_class: int
    refine: bool
    return_soft_masks: bool = False

    def __post_init__(self) -> None:
        finite_number(self.mask_threshold, name="mask_threshold")
        check_integer(self.points_per_class, name="points_per_class", least=1)
        check_flag(self.refine, name="refine")
        check_flag(self.return_soft_masks, name="return_soft_masks")

    @classmethod
    def of_text(
        cls,
        manifest: ModelInfo,
        *,
        threshold: float | None,
        mask_threshold: float | None,
        by_label: NDArray[np.float32] | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        return_soft_masks: bool = False,
    ) -> TextToMaskOptions:
        """Replaces the caller's None values by the labels' own, or the model's calibrated ones."""
        check_flag(refine, name="refine")
        own = manifest.calibration
        present = own.presence_threshold if by_label is None else by_label
        by_default = manifest.masks.mask_threshold if refine else _logit(own.head_only_threshold)
        return cls(
            presence_threshold=present if threshold is None else checked_threshold(threshold),
            mask_threshold=by_default if mask_threshold is None else mask_threshold,
            points_per_class=POINTS_PER_CLASS if points_per_class is None else points_per_class,
            refine=refine,
            return_soft_masks=return_soft_masks,
        )

    def of_label(self, index: int) -> TextToMaskOptions:
        """The options for one of the labels, with its own threshold."""
        thresholds = np.ravel(self.presence_threshold)
        own = float(thresholds[index if len(thresholds) > 1 else 0])
        return replace(self, presence_threshold=own)


def checked_threshold(threshold: float) -> float:
    """A threshold of presence.

    Raises:
        PromptError: it is not from 0 to 1.
    """
    if not 0 <= finite_number(threshold, name="threshold") <= 1:
        raise PromptError(f"threshold is {threshold:g}; it must be from 0 to 1")
    return float(threshold)


def default_min_score(calibration: Calibration, *, asked: float | None) -> float:
    """The least score of an object that is told: the caller's, or the calibrated one.

    Raises:
        PromptError: it is not from 0 to 1.
    """
    if asked is None:
        return 0.0 if calibration.objects is None else calibration.objects.min_score
    if not 0 <= finite_number(asked, name="min_score") <= 1:
        raise PromptError(f"min_score is {asked:g}; it must be from 0 to 1")
    return float(asked)


def _logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))
