"""What `SamClip.segment_text` answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.picture.image import Picture
from samclip_sdk.picture.packed_masks import EMPTY, PackedMasks
from samclip_sdk.results.frozen import freeze_array, freeze_masks
from samclip_sdk.results.items import TextMask
from samclip_sdk.results.overlay import draw_overlay
from samclip_sdk.results.result_base import (
    MaskResult,
    coco_annotation,
    counted,
    described,
    import_supervision,
    named,
)

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, repr=False)
class TextMasks(MaskResult[TextMask]):
    """Masks of labels; an item for each label, in the order asked.

    A label that is not in the image has an empty mask and a low presence; `"dog" in result` tells
    whether a label is.

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
        present_masks: P masks bool [H,W], in the upright image; see `masks`.
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
    present_masks: PackedMasks
    class_map: NDArray[np.int16]
    speed: Mapping[str, float] = field(default_factory=dict)
    picture: Picture | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        # Of 150 labels most are absent, and have the same array of no points: it is copied once.
        given = tuple(self.points)
        own = {id(each): _points(each) for each in given}
        object.__setattr__(self, "points", tuple(own[id(each)] for each in given))
        count = len(self.labels)
        freeze_array(self, "presence", dtype="float32", shape=(count,))
        freeze_array(self, "scores", dtype="float32", shape=(count,))
        freeze_array(self, "score_maps", dtype="float32", shape=(count, None, None))
        size = freeze_array(self, "class_map", dtype="int16", shape=(None, None))
        present = freeze_array(self, "present_index", dtype="int32", shape=(None,))[0]
        height, width = size
        freeze_masks(self, "present_masks", shape=(present, height, width))
        if len(self.points) != count or any(each.shape[1:] != (2,) for each in own.values()):
            raise ValueError(f"TextMasks.points must be {count} arrays [n, 2]")
        places = [-1, *self.present_index.tolist(), count]
        if any(here >= after for here, after in pairwise(places)):
            raise ValueError(f"TextMasks.present_index must ascend within 0..{count - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label: object) -> bool:
        return label in self.present

    def __repr__(self) -> str:
        said = f"{len(self.present)} of {counted(len(self), 'label')} found"
        names = named(zip(self.present, self.presence[self.present_index], strict=True))
        said = f"{said}: {names}" if names else said
        return described("TextMasks", said, self._size(), speed=self.speed)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image and of every mask, in pixels."""
        height, width = self.class_map.shape
        return height, width

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """The tight box of each label's mask, float32 [K,4]; zeros for an empty one."""
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for place, mask in zip(self.present_index, self.present_masks.packed, strict=True):
            boxes[place] = mask.box
        return boxes

    @property
    def masks(self) -> PackedMasks:
        """K masks bool [H,W], read-only, those of absent labels empty.

        Each is an array once it is asked for; `np.asarray(masks)` is all of them, bool [K,H,W].
        """
        masks = [EMPTY] * len(self)
        for index, mask in zip(self.present_index, self.present_masks.packed, strict=True):
            masks[index] = mask
        return PackedMasks(self.size, tuple(masks))

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

    def to_dict(self) -> dict[str, Any]:
        """Every label with its presence, and one annotation (COCO) for each present label."""
        annotations = [
            {
                "label": self.labels[index],
                "presence": float(self.presence[index]),
                "score": float(self.scores[index]),
                "points": self.points[index].tolist(),
                **coco_annotation(mask, size=self.size),
            }
            for index, mask in zip(self.present_index, self.present_masks.packed, strict=True)
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
            xyxy=self.xyxy[self.present_index],
            mask=np.asarray(self.present_masks),
            confidence=self.presence[self.present_index],
            class_id=self.present_index.copy(),
            data={"class_name": np.array(self.present, dtype=np.str_)},
        )
        return result

    def _item(self, place: int) -> TextMask:
        found = np.searchsorted(self.present_index, place)
        present = found < len(self.present_index) and self.present_index[found] == place
        packed = self.present_masks.packed[found] if present else EMPTY
        return TextMask(
            mask=PackedMasks(self.size, (packed,))[0],
            score=float(self.scores[place]),
            box=packed.box,
            label=self.labels[place],
            presence=float(self.presence[place]),
            present=bool(present),
            points=self.points[place],
        )

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws each present label's mask with the label and its presence."""
        self._check_size(pixels)
        captions = [f"{self.labels[i]} {self.presence[i]:.2f}" for i in self.present_index]
        colours = self.present_index.tolist()
        return draw_overlay(pixels, masks=self.present_masks, captions=captions, colours=colours)

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
