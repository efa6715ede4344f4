"""The masks of geometric prompts, one or three for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.image.upscale import probabilities
from samclip_sdk.results.frozen import freeze_array, freeze_masks
from samclip_sdk.results.overlay import draw_overlay
from samclip_sdk.results.result_base import (
    MaskResult,
    counted,
    described,
    import_supervision,
    named,
)
from samclip_sdk.results.row_items import Mask

if TYPE_CHECKING:
    import supervision


_MODEL_PX = 4
"""The pixels of the model's input along each side of a pixel of low-resolution masks, as in SAM."""


@dataclass(frozen=True, eq=False, repr=False)
class Masks(MaskResult[Mask]):
    """The masks of geometric prompts, one or three for each; an item for each mask.

    Attributes:
        masks: N masks bool [H,W], in the upright image, packed; `np.asarray(masks)` is an array.
        scores: float32 [N], the predicted IoU.
        low_res_masks: float32 [N,4g,4g], logits in the model frame; fit to be a `mask_input`.
        boxes: float32 [N,4], the tight box of each mask; zeros for an empty one.
        prompt_index: int32 [N], the index of each mask's prompt.
        speed: milliseconds by step.
        origin: the source of the image.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("masks", "scores", "low_res_masks", "boxes", "prompt_index")

    masks: PackedMasks
    scores: NDArray[np.float32]
    low_res_masks: NDArray[np.float32]
    boxes: NDArray[np.float32]
    prompt_index: NDArray[np.int32]
    speed: Mapping[str, float] = field(default_factory=dict)
    origin: ImageOrigin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_masks(self, "masks", shape=(None, None, None))
        count = len(self.masks)
        freeze_array(self, "scores", dtype="float32", shape=(count,))
        freeze_array(self, "low_res_masks", dtype="float32", shape=(count, None, None))
        freeze_array(self, "boxes", dtype="float32", shape=(count, 4))
        freeze_array(self, "prompt_index", dtype="int32", shape=(count,))

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        prompts = len(np.unique(self.prompt_index))
        said = f"{counted(len(self), 'mask')} of {counted(prompts, 'prompt')}"
        scores = named(("", score) for score in self.scores)
        return described("Masks", f"{said}: {scores}", self._size(), speed=self.speed)

    @property
    def soft_masks(self) -> NDArray[np.float32]:
        """The probability of each pixel that it belongs to the mask, float32 [N,H,W], 0..1.

        They are made of `low_res_masks` at each access; four bytes a pixel.
        """
        resolution = _MODEL_PX * self.low_res_masks.shape[-1]
        return probabilities(self.low_res_masks, frame=Frame.fit(*self.size, resolution=resolution))

    def best(self) -> Masks:
        """Keeps the mask with the highest score for each prompt, in the order of the prompts."""
        order = np.lexsort((-self.scores, self.prompt_index))
        first = np.unique(self.prompt_index[order], return_index=True)[1]
        return self[order[first]]

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """The boxes, under the name that other libraries use."""
        return self.boxes

    def to_dict(self) -> dict[str, Any]:
        """A COCO data set with an annotation for each mask, its prompt_index and its score."""
        rows = zip(self.prompt_index.tolist(), self.scores.tolist(), strict=True)
        own = [{"prompt_index": prompt, "score": score} for prompt, score in rows]
        return {**self._coco(own), "speed": dict(self.speed)}

    def to_supervision(self) -> supervision.Detections:
        """Converts to supervision's `Detections`; `class_id` is the prompt, as `prompt_index`."""
        result: supervision.Detections = import_supervision().Detections(
            xyxy=self.boxes.copy(),
            mask=np.asarray(self.masks),
            confidence=self.scores.copy(),
            class_id=self.prompt_index.copy(),
            data={"prompt_index": self.prompt_index.copy()},
        )
        return result

    def _classes(self) -> tuple[list[int], dict[int, str]]:
        return [0] * len(self), {0: "object"}

    def _item(self, index: int) -> Mask:
        return Mask(
            mask=self.masks[index],
            score=float(self.scores[index]),
            box=self.boxes[index],
            prompt_index=int(self.prompt_index[index]),
            low_res_mask=self.low_res_masks[index],
        )

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws each mask with its score; if there are several prompts, each has its own colour."""
        self._check_size(pixels)
        several = len(np.unique(self.prompt_index)) > 1
        return draw_overlay(
            pixels,
            masks=self.masks,
            captions=[f"{score:.2f}" for score in self.scores],
            colours=self.prompt_index.tolist() if several else None,
        )
