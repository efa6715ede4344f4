"""What the model answers: frozen dataclasses of read-only numpy arrays, their shapes checked.

Each carries `speed` (milliseconds by step). Boxes are XYXY in pixels of the upright image; in JSON,
which follows COCO, `bbox` is [x, y, width, height] and masks are compressed RLE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.frozen import freeze_array
from samclip_sdk.image import ImageSource, Picture, load_image
from samclip_sdk.masks import COLOURS, draw_captions, draw_overlay, mask_to_box
from samclip_sdk.result_base import (
    Result,
    coco_annotation,
    import_supervision,
    matching_image,
)

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Classification(Result):
    """How well each label describes the image.

    Attributes:
        labels: K texts.
        probs: float32 [K], the softmax over the labels asked: with one label it is always 1.
        logits: float32 [K], cosine times the logit scale.
        speed: milliseconds by step.
        picture: what the image was read from.
    """

    labels: Sequence[str]
    probs: NDArray[np.float32]
    logits: NDArray[np.float32]
    speed: Mapping[str, float] = field(default_factory=dict)
    picture: Picture | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        for name in ("probs", "logits"):
            freeze_array(self, name, dtype="float32", shape=(len(self.labels),))

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` likeliest labels and their probabilities, best first."""
        order = np.argsort(-self.probs, kind="stable")[:count]
        return [(self.labels[index], float(self.probs[index])) for index in order]

    def plot(self, image: ImageSource) -> NDArray[np.uint8]:
        """Writes the five likeliest labels into the top left corner."""
        captions = [(f"{label} {prob:.2f}", (0.0, 0.0), COLOURS[1]) for label, prob in self.top()]
        return draw_captions(load_image(image), captions=captions)

    def to_dict(self) -> dict[str, Any]:
        """The labels with their probs and logits, in the order asked."""
        return {
            "labels": list(self.labels),
            "probs": self.probs.tolist(),
            "logits": self.logits.tolist(),
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Classifications:
        """As supervision's `Classifications`; `class_id` is the place among `labels`."""
        order = np.argsort(-self.probs, kind="stable")
        result: supervision.Classifications = import_supervision().Classifications(
            class_id=order, confidence=self.probs[order]
        )
        return result


@dataclass(frozen=True, eq=False)
class Masks(Result):
    """Masks of geometric prompts, one or three a prompt.

    Attributes:
        masks: bool [N,H,W], in the upright image.
        scores: float32 [N], the predicted IoU.
        low_res_masks: float32 [N,4g,4g], logits in the model frame; fit to be a `mask_input`.
        boxes: float32 [N,4], the tight box of each mask; zeros for an empty one.
        prompt_index: int32 [N], which prompt each mask answers.
        speed: milliseconds by step.
        picture: what the image was read from.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    low_res_masks: NDArray[np.float32]
    boxes: NDArray[np.float32]
    prompt_index: NDArray[np.int32]
    speed: Mapping[str, float] = field(default_factory=dict)
    picture: Picture | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count = freeze_array(self, "masks", dtype="bool", shape=(None, None, None))[0]
        freeze_array(self, "scores", dtype="float32", shape=(count,))
        freeze_array(self, "low_res_masks", dtype="float32", shape=(count, None, None))
        freeze_array(self, "boxes", dtype="float32", shape=(count, 4))
        freeze_array(self, "prompt_index", dtype="int32", shape=(count,))

    def __len__(self) -> int:
        return len(self.masks)

    def plot(self, image: ImageSource) -> NDArray[np.uint8]:
        """Draws each mask with its score; the masks of one prompt share a colour."""
        pixels = matching_image(image, size=self.masks.shape[1:])
        captions = [f"{score:.2f}" for score in self.scores]
        colours = self.prompt_index.tolist()
        return draw_overlay(pixels, masks=self.masks, captions=captions, colours=colours)

    def to_dict(self) -> dict[str, Any]:
        """One annotation for each mask: prompt_index, score, bbox, area, segmentation (RLE)."""
        rows = zip(self.masks, self.scores.tolist(), self.prompt_index.tolist(), strict=True)
        return {
            "size": list(self.masks.shape[1:]),
            "annotations": [
                {"prompt_index": prompt, "score": score, **coco_annotation(mask)}
                for mask, score, prompt in rows
            ],
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Detections:
        """As supervision's `Detections`; `data["prompt_index"]` tells the prompts apart."""
        result: supervision.Detections = import_supervision().Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            data={"prompt_index": self.prompt_index},
        )
        return result


@dataclass(frozen=True, eq=False)
class TextMasks(Result):
    """Masks of labels. A label that is not in the image has an empty mask and a low presence.

    Only the masks of present labels are stored, so that 150 labels on a 12-megapixel photo cost
    what the few that are in it cost.

    Attributes:
        labels: K texts.
        presence: float32 [K], 0..1: whether the label is in the image at all.
        scores: float32 [K], the predicted IoU of its mask; 0 for an absent label.
        score_maps: float32 [K,h,h], the calibrated score of each patch, in the model frame.
        points: K arrays float32 [n,2], the points drawn for it, (x, y) in pixels of the upright
            image; n is 0 for an absent label.
        present_index: int32 [P], ascending: the place among `labels` of each present one.
        present_masks: bool [P,H,W], in the upright image.
        class_map: int16 [H,W], for each pixel the place of its label, or -1.
        speed: milliseconds by step.
        picture: what the image was read from.
    """

    labels: Sequence[str]
    presence: NDArray[np.float32]
    scores: NDArray[np.float32]
    score_maps: NDArray[np.float32]
    points: Sequence[NDArray[np.float32]]
    present_index: NDArray[np.int32]
    present_masks: NDArray[np.bool_]
    class_map: NDArray[np.int16]
    speed: Mapping[str, float] = field(default_factory=dict)
    picture: Picture | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "points", tuple(_points(each) for each in self.points))
        count = len(self.labels)
        freeze_array(self, "presence", dtype="float32", shape=(count,))
        freeze_array(self, "scores", dtype="float32", shape=(count,))
        freeze_array(self, "score_maps", dtype="float32", shape=(count, None, None))
        size = freeze_array(self, "class_map", dtype="int16", shape=(None, None))
        present = freeze_array(self, "present_index", dtype="int32", shape=(None,))[0]
        freeze_array(self, "present_masks", dtype="bool", shape=(present, *size))
        if len(self.points) != count or any(each.shape[1:] != (2,) for each in self.points):
            raise ValueError(f"TextMasks.points must be {count} arrays [n, 2]")
        places = [-1, *self.present_index.tolist(), count]
        if any(here >= after for here, after in pairwise(places)):
            raise ValueError(f"TextMasks.present_index must ascend within 0..{count - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def masks(self) -> tuple[NDArray[np.bool_], ...]:
        """K masks bool [H,W], read-only; those of absent labels are empty and take no memory."""
        masks = [np.broadcast_to(np.False_, self.class_map.shape)] * len(self.labels)
        for index, mask in zip(self.present_index, self.present_masks, strict=True):
            masks[index] = mask
        return tuple(masks)

    @property
    def present(self) -> tuple[str, ...]:
        """The labels that are in the image, in the order asked."""
        return tuple(self.labels[index] for index in self.present_index)

    def mask(self, label: str) -> NDArray[np.bool_]:
        """The mask of one label, bool [H,W], empty if it is absent.

        Raises:
            KeyError: the label was not asked.
        """
        if label not in self.labels:
            raise KeyError(label)
        return self.masks[self.labels.index(label)]

    def plot(self, image: ImageSource) -> NDArray[np.uint8]:
        """Draws each present label's mask with the label and its presence."""
        pixels = matching_image(image, size=self.class_map.shape)
        captions = [f"{self.labels[i]} {self.presence[i]:.2f}" for i in self.present_index]
        colours = self.present_index.tolist()
        return draw_overlay(pixels, masks=self.present_masks, captions=captions, colours=colours)

    def to_dict(self) -> dict[str, Any]:
        """Every label with its presence, and one annotation (COCO) for each present label."""
        annotations = [
            {
                "label": self.labels[index],
                "presence": float(self.presence[index]),
                "score": float(self.scores[index]),
                "points": self.points[index].tolist(),
                **coco_annotation(mask),
            }
            for index, mask in zip(self.present_index, self.present_masks, strict=True)
        ]
        return {
            "size": list(self.class_map.shape),
            "labels": list(self.labels),
            "presence": self.presence.tolist(),
            "annotations": annotations,
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Detections:
        """As supervision's `Detections` of the present labels; confidence is the presence."""
        result: supervision.Detections = import_supervision().Detections(
            xyxy=np.array([mask_to_box(mask) for mask in self.present_masks]).reshape(-1, 4),
            mask=self.present_masks,
            confidence=self.presence[self.present_index],
            class_id=self.present_index,
            data={"class_name": np.array(self.present)},
        )
        return result

    def _arrays(self) -> dict[str, Any]:
        # Labels have different numbers of points: all of them in a row, and how many each has.
        points = np.concatenate([np.zeros((0, 2), dtype=np.float32), *self.points])
        counts = np.array([len(each) for each in self.points], dtype=np.int32)
        return {**super()._arrays(), "points": points, "points_per_label": counts}


def _points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy."""
    own = np.array(points, dtype=np.float32)
    own.flags.writeable = False
    return own
