"""One row of a result: the item that indexing and iteration give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.masks import mask_to_polygons
from samclip_sdk.results.frozen import Frozen, freeze_array


@dataclass(frozen=True)
class LabelProb:
    """A label of a `Classification`.

    Attributes:
        label: the label's text.
        prob: the softmax over the labels that were asked.
        logit: cosine times the logit scale.
        presence: 0..1, whether the label is in the image at all.
    """

    label: str
    prob: float
    logit: float
    presence: float


@dataclass(frozen=True, eq=False, repr=False)
class MaskItem(Frozen):
    """A mask with its score and its box.

    Attributes:
        mask: bool [H,W], in the upright image.
        score: how good it is: the predicted IoU, if the class below says nothing else.
        box: float32 [4], XYXY, tight, far edges exclusive; zeros for an empty mask.
    """

    mask: NDArray[np.bool_]
    score: float
    box: NDArray[np.float32]

    def __post_init__(self) -> None:
        freeze_array(self, "mask", dtype="bool", shape=(None, None))
        freeze_array(self, "box", dtype="float32", shape=(4,))

    @property
    def area(self) -> int:
        """The number of pixels of the mask."""
        return int(self.mask.sum())

    def polygons(self, *, tolerance_px: float = 0.0) -> list[NDArray[np.int32]]:
        """The outlines [n,2] of the mask's parts, (x, y) in image pixels; see `mask_to_polygons`.

        Args:
            tolerance_px: how far an outline may leave the mask's edge, for fewer corners.
        """
        return mask_to_polygons(self.mask, tolerance_px=tolerance_px)

    def polygon(self, *, tolerance_px: float = 0.0) -> NDArray[np.int32]:
        """The outline [n,2] of the largest part; [0,2] for an empty mask."""
        found = self.polygons(tolerance_px=tolerance_px)
        return found[0] if found else np.zeros((0, 2), dtype=np.int32)

    def _numbers(self) -> str:
        box = " ".join(f"{edge:g}" for edge in self.box)
        return f"score {self.score:.2f}; box {box}; {self.area} px"


@dataclass(frozen=True, eq=False, repr=False)
class Mask(MaskItem):
    """One mask of `Masks`.

    Attributes:
        prompt_index: the index of its prompt.
        low_res_mask: float32 [4g,4g], logits in the model frame; fit to be a `mask_input`.
    """

    prompt_index: int
    low_res_mask: NDArray[np.float32]

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_array(self, "low_res_mask", dtype="float32", shape=(None, None))

    def __repr__(self) -> str:
        return f"Mask(prompt {self.prompt_index}; {self._numbers()})"


@dataclass(frozen=True, eq=False, repr=False)
class TextMask(MaskItem):
    """A label of `TextMasks`.

    Attributes:
        label: the label's text.
        presence: 0..1, whether the label is in the image at all.
        points: float32 [n,2], the points of its prompt, (x, y) in image pixels.
    """

    label: str
    presence: float
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_array(self, "points", dtype="float32", shape=(None, 2))

    def __repr__(self) -> str:
        return f"TextMask({self.label!r}: presence {self.presence:.2f}; {self._numbers()})"


@dataclass(frozen=True, eq=False, repr=False)
class ScoredMask(MaskItem):
    """One mask of `Instances` or `NamedMasks`.

    Attributes:
        label: the label; "" if none fits.
        label_score: 0..1, how well the label fits the content of the mask; 0 without a label.
        predicted_iou: the IoU of mask and object, as the model predicts it.
        stability_score: 0..1, how little the mask changes with its threshold.
    """

    label: str
    label_score: float
    predicted_iou: float
    stability_score: float

    def __repr__(self) -> str:
        name = f"{self.label!r}: " if self.label else ""
        return f"{type(self).__name__}({name}{self._numbers()})"


@dataclass(frozen=True, eq=False, repr=False)
class Instance(ScoredMask):
    """One object of `Instances`: its `score` is the probability that it is right."""


@dataclass(frozen=True, eq=False, repr=False)
class NamedMask(ScoredMask):
    """One mask of `NamedMasks`: its `score` is the predicted IoU."""
