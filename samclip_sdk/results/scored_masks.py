"""What the objects of labels and all masks of an image have in common: labels and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.results.frozen import freeze_array, freeze_masks
from samclip_sdk.results.overlay import draw_overlay
from samclip_sdk.results.result_base import (
    Labelled,
    MaskResult,
    import_supervision,
)
from samclip_sdk.results.row_items import ScoredMask
from samclip_sdk.text.word_table import Reading, readings_dict

if TYPE_CHECKING:
    import supervision


Scored = TypeVar("Scored", bound=ScoredMask, covariant=True)


@dataclass(frozen=True, eq=False, repr=False)
class ScoredMasks(Labelled[Scored], MaskResult[Scored]):
    """Masks, each with a label and its scores; an item for each, the best first.

    `"dog" in result` tells whether one of them is a dog, and `result["dog"]` gives all dogs.

    Attributes:
        labels: N texts, the label of each mask; "" if none fits.
        scores: float32 [N], 0..1, descending: how good each is, as the class below says.
        boxes: float32 [N,4], XYXY in pixels of the upright image, tight, far edges exclusive.
        masks: N masks bool [H,W], in the upright image, none of them empty; each becomes an array
            when it is used, and `np.asarray(masks)` is all of them, bool [N,H,W].
        label_index: int32 [N], the index of each label among all asked; -1 without a label.
        label_scores: float32 [N], 0..1, how well the label fits the content of the mask; 0 without
            a label.
        predicted_ious: float32 [N], the IoU of mask and object, as the model predicts it.
        stability_scores: float32 [N], 0..1, how little the mask changes with its threshold.
        speed: milliseconds by step.
        origin: the source of the image.
        read_as: the labels that other words answer for, or that the model does not know.
    """

    ITEM: ClassVar[type[ScoredMask]]
    """The class of the items."""

    CAPTION: ClassVar[str]
    """The scores that stand beside the labels in a drawing."""

    ROWS: ClassVar[tuple[str, ...]] = (
        *("labels", "scores", "boxes", "masks", "label_index", "label_scores"),
        *("predicted_ious", "stability_scores"),
    )

    labels: Sequence[str]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    masks: PackedMasks
    label_index: NDArray[np.int32]
    label_scores: NDArray[np.float32]
    predicted_ious: NDArray[np.float32]
    stability_scores: NDArray[np.float32]
    speed: Mapping[str, float] = field(default_factory=dict)
    origin: ImageOrigin | None = field(default=None, kw_only=True)
    read_as: Mapping[str, Reading] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        count = len(self.labels)
        freeze_masks(self, "masks", shape=(count, None, None))
        freeze_array(self, "boxes", dtype="float32", shape=(count, 4))
        freeze_array(self, "label_index", dtype="int32", shape=(count,))
        for name in ("scores", "label_scores", "predicted_ious", "stability_scores"):
            freeze_array(self, name, dtype="float32", shape=(count,))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """The boxes, under the name that other libraries use."""
        return self.boxes

    @property
    def areas(self) -> NDArray[np.int64]:
        """The number of pixels of each mask, int64 [N]."""
        return self.masks.areas

    def to_dict(self) -> dict[str, Any]:
        """A COCO data set with an annotation for each mask, its label and its scores."""
        own = [
            {
                "label": label,
                "score": float(self.scores[index]),
                "label_score": float(self.label_scores[index]),
                "predicted_iou": float(self.predicted_ious[index]),
                "stability_score": float(self.stability_scores[index]),
            }
            for index, label in enumerate(self.labels)
        ]
        return {
            **self._coco(own),
            "read_as": readings_dict(self.read_as),
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Detections:
        """Converts to supervision's `Detections`; `class_id` is the index among the labels asked.

        Each mask without a label is a class of its own, as supervision has no colour for class
        -1.
        """
        nameless = self.label_index < 0
        result: supervision.Detections = import_supervision().Detections(
            xyxy=self.boxes.copy(),
            mask=np.asarray(self.masks),
            confidence=self.scores.copy(),
            class_id=np.where(nameless, np.arange(len(self)), self.label_index),
            data={"class_name": np.array(self.labels, dtype=np.str_)},
        )
        return result

    def _classes(self) -> tuple[list[int], dict[int, str]]:
        classes = np.maximum(self.label_index, 0).tolist()
        return classes, {
            each: name or "object" for each, name in zip(classes, self.labels, strict=True)
        }

    def _item(self, index: int) -> Any:
        return self.ITEM(
            mask=self.masks[index],
            score=float(self.scores[index]),
            box=self.boxes[index],
            label=self.labels[index],
            label_score=float(self.label_scores[index]),
            predicted_iou=float(self.predicted_ious[index]),
            stability_score=float(self.stability_scores[index]),
        )

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws each mask in its own colour; one with a label has it, and how sure it is."""
        self._check_size(pixels)
        pairs = zip(self.labels, getattr(self, self.CAPTION), strict=True)
        named = [f"{label} {number:.2f}" if label else "" for label, number in pairs]
        captions = named if any(named) else None
        return draw_overlay(pixels, masks=self.masks, captions=captions)

    def _arrays(self) -> dict[str, Any]:
        return {**super()._arrays(), "labels": np.array(self.labels, dtype=np.str_)}
