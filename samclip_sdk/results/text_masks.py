"""The result of `SamClip.segment_text`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.image.packed_masks import EMPTY, PackedMasks
from samclip_sdk.results.frozen import Frozen, freeze_array, freeze_masks
from samclip_sdk.results.overlay import draw_overlay
from samclip_sdk.results.result_base import (
    Labelled,
    MaskResult,
    check_asked,
    counted,
    described,
    import_supervision,
    named,
)
from samclip_sdk.results.row_items import TextMask
from samclip_sdk.text.word_table import Reading, readings_dict

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class AskedLabels(Frozen):
    """All labels that were asked, in their order, present or absent.

    Attributes:
        labels: K texts.
        presence: float32 [K], 0..1: whether the label is in the image at all.
        score_maps: float32 [K,h,h], the calibrated score of each patch, in the model frame.
    """

    labels: Sequence[str]
    presence: NDArray[np.float32]
    score_maps: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        freeze_array(self, "presence", dtype="float32", shape=(len(self.labels),))
        freeze_array(self, "score_maps", dtype="float32", shape=(len(self.labels), None, None))


@dataclass(frozen=True, eq=False, repr=False)
class TextMasks(Labelled[TextMask], MaskResult[TextMask]):
    """Masks of labels; an item for each label that is in the image, in the order asked.

    `"dog" in result` tells whether a label is in the image, and `result.mask("dog")` is its mask,
    which is empty if it is not. `asked` has all labels, and `absent` has the presence of the labels
    that are not in the image.

    Attributes:
        labels: P texts.
        presence: float32 [P], 0..1: whether the label is in the image at all.
        scores: float32 [P], the predicted IoU of its mask.
        masks: P masks bool [H,W], in the upright image, packed; `np.asarray(masks)` is an array.
        points: P arrays float32 [n,2], the points of its prompt, (x, y) in pixels of the upright
            image.
        label_index: int32 [P], the index of each label among all asked.
        asked: the K labels that were asked.
        draw_class_map: makes `class_map`, when it is first asked for.
        speed: milliseconds by step.
        origin: the source of the image.
        read_as: the labels that other words answer for, or that the model does not know.
        soft_masks: float32 [P,H,W], 0..1, the probability of each pixel that it belongs to the
            mask, whatever other labels are there; None if they were not asked for.
    """

    ROWS: ClassVar[tuple[str, ...]] = (
        "labels",
        "presence",
        "scores",
        "masks",
        "points",
        "label_index",
        "soft_masks",
    )

    labels: Sequence[str]
    presence: NDArray[np.float32]
    scores: NDArray[np.float32]
    masks: PackedMasks
    points: Sequence[NDArray[np.float32]]
    label_index: NDArray[np.int32]
    asked: AskedLabels
    draw_class_map: Callable[[], NDArray[np.int16]]
    speed: Mapping[str, float] = field(default_factory=dict)
    origin: ImageOrigin | None = field(default=None, kw_only=True)
    read_as: Mapping[str, Reading] = field(default_factory=dict, kw_only=True)
    soft_masks: NDArray[np.float32] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "points", tuple(map(_points, self.points)))
        count = len(self.labels)
        for name in ("presence", "scores"):
            freeze_array(self, name, dtype="float32", shape=(count,))
        freeze_array(self, "label_index", dtype="int32", shape=(count,))
        freeze_masks(self, "masks", shape=(count, None, None))
        if self.soft_masks is not None:
            freeze_array(self, "soft_masks", dtype="float32", shape=(count, *self.size))
        if len(self.points) != count or any(each.shape[1:] != (2,) for each in self.points):
            raise ValueError(f"TextMasks.points must be {count} arrays [n, 2]")
        named_so = [self.asked.labels[index] for index in self.label_index]
        if list(self.labels) != named_so:
            raise ValueError(f"TextMasks.labels must be those at label_index, {named_so}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        said = f"{len(self)} of {counted(len(self.asked.labels), 'label')} found"
        names = named(zip(self.labels, self.presence, strict=True))
        said = f"{said}: {names}" if names else said
        return described("TextMasks", said, self._size(), speed=self.speed)

    @property
    def absent(self) -> dict[str, float]:
        """The presence of each asked label that is not in the image."""
        pairs = zip(self.asked.labels, self.asked.presence.tolist(), strict=True)
        there = set(self.labels)
        return {label: presence for label, presence in pairs if label not in there}

    @cached_property
    def class_map(self) -> NDArray[np.int16]:
        """The index of each pixel's label among all asked, or -1: int16 [H,W]."""
        drawn = self.draw_class_map()
        drawn.flags.writeable = False
        return drawn

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """The tight box of each label's mask, float32 [P,4]."""
        return self.masks.boxes

    def mask(self, label: str) -> NDArray[np.bool_]:
        """The mask of one label, bool [H,W], empty if it is absent.

        Raises:
            UnaskedLabelError: the label was not asked.
        """
        self._check_label(label)
        if label not in self.labels:
            return PackedMasks(self.size, (EMPTY,))[0]
        return self.masks[self.labels.index(label)]

    def to_dict(self) -> dict[str, Any]:
        """A COCO data set with an annotation for each present label, and all asked labels."""
        own = [
            {
                "label": label,
                "presence": float(self.presence[index]),
                "score": float(self.scores[index]),
                "points": self.points[index].tolist(),
            }
            for index, label in enumerate(self.labels)
        ]
        return {
            **self._coco(own),
            "labels": list(self.asked.labels),
            "presence": self.asked.presence.tolist(),
            "read_as": readings_dict(self.read_as),
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Detections:
        """Converts to supervision's `Detections`; confidence is the presence."""
        result: supervision.Detections = import_supervision().Detections(
            xyxy=self.xyxy,
            mask=np.asarray(self.masks),
            confidence=self.presence.copy(),
            class_id=self.label_index.copy(),
            data={"class_name": np.array(self.labels, dtype=np.str_)},
        )
        return result

    def _check_label(self, label: str) -> None:
        check_asked(label, labels=self.asked.labels)

    def _classes(self) -> tuple[list[int], dict[int, str]]:
        return self.label_index.tolist(), dict(enumerate(self.asked.labels))

    def _item(self, index: int) -> TextMask:
        return TextMask(
            mask=self.masks[index],
            score=float(self.scores[index]),
            box=self.masks.packed[index].box,
            label=self.labels[index],
            presence=float(self.presence[index]),
            points=self.points[index],
        )

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws each label's mask with the label and its presence."""
        self._check_size(pixels)
        pairs = zip(self.labels, self.presence, strict=True)
        captions = [f"{label} {presence:.2f}" for label, presence in pairs]
        colours = self.label_index.tolist()
        return draw_overlay(pixels, masks=self.masks, captions=captions, colours=colours)

    def _arrays(self) -> dict[str, Any]:
        # Labels have different numbers of points: one array has all points, another the counts.
        points = np.concatenate([np.zeros((0, 2), dtype=np.float32), *self.points])
        counts = np.array([len(each) for each in self.points], dtype=np.int32)
        other = ("asked", "draw_class_map")
        arrays = {name: each for name, each in super()._arrays().items() if name not in other}
        return {
            **arrays,
            "class_map": self.class_map,
            "points": points,
            "points_per_label": counts,
            "asked_labels": np.array(self.asked.labels, dtype=np.str_),
            "asked_presence": self.asked.presence,
            "score_maps": self.asked.score_maps,
        }


def _points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Makes a read-only copy."""
    own = np.array(points, dtype=np.float32)
    own.flags.writeable = False
    return own
