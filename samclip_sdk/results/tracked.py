"""The objects in a frame of a video, one row each, with ids that stay the same in every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.results.frozen import freeze_array
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.overlay import draw_overlay
from samclip_sdk.results.result_base import counted, described, named
from samclip_sdk.results.row_items import Instance

if TYPE_CHECKING:
    import supervision
    from typing_extensions import Self


@dataclass(frozen=True, eq=False, repr=False)
class TrackedInstance(Instance):
    """One object of `TrackedInstances`.

    Attributes:
        id: the object's id, the same in every frame that shows it.
    """

    id: int

    def __repr__(self) -> str:
        return f"TrackedInstance({self.label!r} {self.id}: {self._numbers()})"


@dataclass(frozen=True, eq=False, repr=False)
class TrackedInstances(Instances):
    """The objects in a frame, as `SamClip.stream` follows them.

    If the model did not run on this frame, the optical flow moves the masks and boxes of the last
    frame that it ran on, and the scores are unchanged.

    Attributes:
        ids: int32 [N], from 1; an object has the same id in every frame.
        frame_index: the number of the frame, from 0.
        frame_name: the image's name if the source is a folder, else the frame's number.
        encoded: whether the model ran on this frame.
    """

    ROWS: ClassVar[tuple[str, ...]] = (*Instances.ROWS, "ids")

    ids: NDArray[np.int32] = field(kw_only=True)
    frame_index: int = field(kw_only=True)
    frame_name: str = field(kw_only=True)
    encoded: bool = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_array(self, "ids", dtype="int32", shape=(len(self.labels),))

    def __repr__(self) -> str:
        names = named((f"{each.label} {each.id}", each.score) for each in self)
        said = counted(len(self), "object")
        said = f"{said}: {names}" if names else said
        frame = f"frame {self.frame_index}"
        return described("TrackedInstances", frame, said, self._size(), speed=self.speed)

    def to_dict(self) -> dict[str, Any]:
        """The frame's number and name, and one annotation (COCO) for each object, with its id."""
        found = super().to_dict()
        pairs = zip(self.ids.tolist(), found["annotations"], strict=True)
        annotations = [{**annotation, "id": each} for each, annotation in pairs]
        frame = {"frame_index": self.frame_index, "frame_name": self.frame_name}
        return {**frame, "encoded": self.encoded, **found, "annotations": annotations}

    def to_supervision(self) -> supervision.Detections:
        """Converts to supervision's `Detections`; `tracker_id` is the id."""
        found = super().to_supervision()
        found.tracker_id = np.array(self.ids)
        return found

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: str | slice | Sequence[int] | NDArray[np.generic]) -> Self: ...
        @overload
        def __getitem__(self, index: int | np.integer[Any]) -> TrackedInstance: ...
        def __getitem__(self, index: Any) -> Any: ...

    def __iter__(self) -> Iterator[TrackedInstance]:
        return map(self._item, range(len(self)))

    def _item(self, index: int) -> TrackedInstance:
        row = super()._item(index)
        given = {each.name: getattr(row, each.name) for each in fields(row)}
        return TrackedInstance(**given, id=int(self.ids[index]))

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws each object in its own colour, the same in every frame, with its label and id."""
        self._check_size(pixels)
        pairs = zip(self.labels, self.ids.tolist(), strict=True)
        captions = [f"{label} {each}" for label, each in pairs]
        colours = (self.ids - 1).tolist()
        return draw_overlay(pixels, masks=self.masks, captions=captions, colours=colours)
