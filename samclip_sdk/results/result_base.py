"""The base of all results: a sequence of items, their source image, and output to files."""

from __future__ import annotations

import io
import json
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageShow

from samclip_sdk.errors import ImageError, RuntimeMissingError, UnaskedLabelError, one_line
from samclip_sdk.image.loading import ImageOrigin, ImageSource, load_image
from samclip_sdk.image.masks import mask_to_polygons
from samclip_sdk.image.packed_masks import PackedMask, PackedMasks
from samclip_sdk.results.formats import coco_dataset, csv_table, yolo_lines
from samclip_sdk.results.frozen import Frozen
from samclip_sdk.results.row_items import MaskItem
from samclip_sdk.system.atomic_file import atomic_file, check_suffix, check_target

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item", covariant=True)
MaskRow = TypeVar("MaskRow", bound=MaskItem, covariant=True)

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SUFFIXES = (*_FORMATS, ".json", ".npz")
"""The suffixes that every result's `save` takes: for overlays, and for the result itself."""

MASK_SUFFIXES = (*SUFFIXES, ".csv", ".txt")
"""Those of results of masks: also a table, and lines of YOLO."""

_NOTEBOOK_PX = 1280
_NAMED = 5


class Result(Frozen, ABC, Generic[Item]):
    """Base of the results: frozen dataclasses of arrays, with one item for each row.

    `result[0]` is an item. A slice, or an array of indexes or flags, gives a result of those rows:
    `found[found.scores > 0.5].save("photo.png")`.

    `image` is the image that the caller gave. A path needs no memory; an array lives as long as
    the result, and `dataclasses.replace(result, origin=None)` makes a copy without it.
    """

    ROWS: ClassVar[tuple[str, ...]]
    """The fields that have one entry for each row."""

    SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES
    """The suffixes that `save` takes."""

    speed: Mapping[str, float]
    origin: ImageOrigin | None

    def __post_init__(self) -> None:
        # A copy, because the clock behind it may still run.
        object.__setattr__(self, "speed", dict(self.speed))

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, range(len(self)))

    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.generic]) -> Self: ...
    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Item: ...
    def __getitem__(
        self, index: int | np.integer[Any] | slice | Sequence[int] | NDArray[np.generic]
    ) -> Item | Self:
        if isinstance(index, (slice, list, tuple)) or np.ndim(index):
            return self._rows(np.arange(len(self))[_as_index(index)])
        row = operator.index(index)  # type: ignore[arg-type]  # others raise
        if not -len(self) <= row < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} entries, and none at {row}")
        return self._item(row % len(self))

    def _rows(self, indices: NDArray[np.intp]) -> Self:
        """A result of some rows, in the order of their indexes [n]."""
        taken = {name: _take(getattr(self, name), indices) for name in self.ROWS}
        return replace(self, **taken)  # type: ignore[type-var]  # subclasses are dataclasses

    def plot(self, image: ImageSource | None = None) -> NDArray[np.uint8]:
        """Draws the result over its image: uint8 [H,W,3], RGB, a new array.

        Args:
            image: the image of the result; by default `image`.

        Raises:
            ImageError: no image is known, it cannot be read (any more), or has another size.
        """
        return self._draw(self._pixels(image))

    def show(self, image: ImageSource | None = None) -> None:
        """Opens the drawing in the system's viewer; a notebook shows a result by itself.

        Args:
            image: as in `plot`.

        Raises:
            ImageError: as in `plot`, or there is no viewer.
        """
        if not ImageShow.show(Image.fromarray(self.plot(image))):
            raise ImageError("no program that shows images was found here: use save() instead")

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The result as plain lists, numbers and text, ready for JSON."""

    def to_json(self) -> str:
        """The result as one line of JSON; of masks a COCO data set, which pycocotools loads."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def save(self, path: str | os.PathLike[str], *, image: ImageSource | None = None) -> None:
        """Writes the result, completely or not at all.

        Args:
            path: ends in .png or .jpg (an overlay), .json, or .npz (every array under its field's
                name); of masks also in .csv (a table) or .txt (YOLO's lines).
            image: for an overlay, as in `plot`.

        Raises:
            ImageError: `plot` has no image to draw an overlay on.
            StorageError: another suffix, no path, or the file cannot be written.
        """
        suffix = check_suffix(path, *self.SUFFIXES)
        check_target(path)
        if suffix in _FORMATS:
            content = _encoded(Image.fromarray(self.plot(image)), _FORMATS[suffix])
            with atomic_file(path) as file:
                file.write(content)
        elif suffix == ".npz":
            with atomic_file(path) as file:
                np.savez_compressed(file, **self._arrays())
        else:
            text = self._text(suffix)
            with atomic_file(path) as file:
                file.write(text.encode("utf-8", "backslashreplace"))  # a name may be no UTF-8

    def _repr_png_(self) -> bytes | None:
        """The drawing for a notebook; None, and so the text, without an image."""
        try:
            image = Image.fromarray(self.plot())
        except ImageError:
            return None
        image.thumbnail((_NOTEBOOK_PX, _NOTEBOOK_PX))
        return _encoded(image, "PNG")

    def _pixels(self, image: ImageSource | None) -> NDArray[np.uint8]:
        """The pixels of an image, or of the result's own."""
        source = self.origin if image is None else image
        if source is None:
            raise ImageError(
                "the image behind this result is not known, since an embedding from a file and a "
                "pickled result do not hold it: give image="
            )
        return load_image(source)

    @abstractmethod
    def _item(self, index: int) -> Item:
        """The item at an index from 0 to the length."""

    @abstractmethod
    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draws the result over an image."""

    def _text(self, suffix: str) -> str:
        """The content of a text file with this suffix."""
        return self.to_json()

    def _arrays(self) -> dict[str, Any]:
        """Every field that an .npz holds, by name."""
        other = ("speed", "origin", "read_as")
        names = [each.name for each in fields(self) if each.name not in other]  # type: ignore[arg-type]  # subclasses are dataclasses
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


class MaskResult(Result[MaskRow]):
    """Base of the results whose items are masks."""

    SUFFIXES: ClassVar[tuple[str, ...]] = MASK_SUFFIXES

    masks: PackedMasks

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image and of every mask, in pixels."""
        return self.masks.image_size

    @property
    @abstractmethod
    def xyxy(self) -> NDArray[np.float32]:
        """The tight box of each item, float32 [N,4]; zeros for an empty mask."""

    def polygons(self, *, tolerance_px: float = 0.0) -> list[list[NDArray[np.int32]]]:
        """The outlines [n,2] of each item's parts, (x, y) in image pixels.

        They cover exactly the mask's pixels, without its holes; see `masks.mask_to_polygons`.

        Args:
            tolerance_px: how far an outline may leave the mask's edge, for fewer corners.
        """
        return [item.polygons(tolerance_px=tolerance_px) for item in self]

    def cut_out(self, image: ImageSource | None = None) -> NDArray[np.uint8]:
        """The image without its background: uint8 [H,W,4], RGBA, transparent outside all masks.

        `found["dog"].cut_out()` cuts out the dog, and
        `PIL.Image.fromarray(found.cut_out()).save("dog.png")` writes it.

        Args:
            image: as in `plot`.

        Raises:
            ImageError: as in `plot`.
        """
        pixels = self._pixels(image)
        self._check_size(pixels)
        shown = np.zeros(self.size, dtype=bool)
        for mask in self.masks.packed:
            mask.draw(shown)
        return np.dstack([pixels, np.where(shown, np.uint8(255), np.uint8(0))])

    def to_yolo(self, *, tolerance_px: float = 0.0) -> str:
        """The outlines as YOLO's lines for segmentation, `CLASS X Y X Y ...`, one for each mask.

        Classes count from 0: the indexes of the labels among all asked, or 0 without labels. An
        empty mask has no line.

        Args:
            tolerance_px: how far an outline may leave the mask's edge, for fewer corners.
        """
        outlines = self.polygons(tolerance_px=tolerance_px)
        return yolo_lines(outlines, size=self.size, classes=self._classes()[0])

    def to_csv(self) -> str:
        """A table with a row for each mask: image, label, score, box, area and RLE counts."""
        return csv_table(self.to_dict()["annotations"], file_name=self._file_name())

    @abstractmethod
    def _classes(self) -> tuple[list[int], dict[int, str]]:
        """The class of each item, from 0, and the names of all classes."""

    def _text(self, suffix: str) -> str:
        writers = {".csv": self.to_csv, ".txt": self.to_yolo}
        return writers.get(suffix, self.to_json)()

    def _coco(self, own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A COCO data set of the image, with fields of the result's own for each mask."""
        packed = zip(own, self.masks.packed, strict=True)
        classes, names = self._classes()
        return coco_dataset(
            ({**each, **coco_annotation(mask, size=self.size)} for each, mask in packed),
            file_name=self._file_name(),
            size=self.size,
            classes=classes,
            names=names,
        )

    def _file_name(self) -> str:
        return os.path.basename(self.origin) if isinstance(self.origin, str) else "image"

    def _size(self) -> str:
        height, width = self.size
        return f"{width} x {height}"

    def _check_size(self, pixels: NDArray[np.uint8]) -> None:
        """Raises ImageError for an image of another size than the result's."""
        height, width = pixels.shape[:2]
        if (height, width) != self.size:
            raise ImageError(
                f"the result is of an image of {self._size()} pixels, "
                f"this one has {width} x {height}"
            )


class Labelled(Result[Item]):
    """Base of the results whose rows have labels.

    `"dog" in result` tells whether a row has that label, and `result["dog"]` gives its rows.
    """

    labels: Sequence[str]

    def __contains__(self, label: object) -> bool:
        return label in self.labels

    @overload
    def __getitem__(self, index: str | slice | Sequence[int] | NDArray[np.generic]) -> Self: ...
    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Item: ...
    def __getitem__(
        self, index: int | np.integer[Any] | str | slice | Sequence[int] | NDArray[np.generic]
    ) -> Item | Self:
        if isinstance(index, str):
            self._check_label(index)
            return self._rows(np.flatnonzero([label == index for label in self.labels]))
        return super().__getitem__(index)

    def _check_label(self, label: str) -> None:
        """Raises UnaskedLabelError for one not asked, if the result knows all asked ones."""


def check_asked(label: str, *, labels: Sequence[str]) -> None:
    """Raises UnaskedLabelError for a label that is not among those that were asked."""
    if label not in labels:
        raise UnaskedLabelError(
            f"the label {one_line(label, limit=60)!r} was not asked for; add it to these: "
            f"{one_line(', '.join(labels))}"
        )


def coco_annotation(
    mask: PackedMask, *, size: tuple[int, int], polygons: bool = False
) -> dict[str, Any]:
    """The bbox (XYWH), area and segmentation (RLE or polygons) of a mask, as COCO names them."""
    x0, y0, x1, y1 = mask.box.tolist()
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": mask.area,
        "segmentation": _polygons(mask) if polygons else mask.to_rle(size),
    }


def _polygons(mask: PackedMask) -> list[list[float]]:
    corner = mask.box[:2]
    return [(each + corner).ravel().tolist() for each in mask_to_polygons(mask.part())]


def described(kind: str, *parts: str, speed: Mapping[str, float]) -> str:
    """One line about a result: its kind, its content, and how long it took."""
    took_ms = sum(speed.values())
    took = [f"{took_ms:.{0 if took_ms >= 10 else 1}f} ms"] if speed else []
    return f"{kind}({'; '.join([*parts, *took])})"


def named(pairs: Iterable[tuple[str, float]]) -> str:
    """The first few names with their numbers."""
    shown = [f"{one_line(name, limit=40)} {number:.2f}".lstrip() for name, number in pairs]
    more = len(shown) - _NAMED
    return ", ".join(shown if more < 2 else [*shown[:_NAMED], f"and {more} more"])


def counted(count: int, noun: str) -> str:
    """A number and its noun: 1 mask, 2 masks."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def import_supervision() -> Any:
    """The optional package, or RuntimeMissingError with the command that installs it."""
    try:
        import supervision
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            "supervision is not installed: pip install supervision"
        ) from error
    return supervision


def _as_index(index: Any) -> Any:
    """Makes an index for NumPy: an empty list would become an array of floats."""
    if isinstance(index, slice):
        return index
    array = np.asarray(index)
    return array if array.size else array.astype(np.intp)


def _take(values: Any, indices: NDArray[np.intp]) -> Any:
    if values is None:
        return None
    return (
        tuple(values[index] for index in indices) if isinstance(values, tuple) else values[indices]
    )


def _encoded(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind)
    return content.getvalue()
