"""The files of a public set: found, read, and refused in one line that names the path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from benchmarks.record import first_fault
from samclip_sdk.image import open_image

Item = TypeVar("Item")

_LABELS = Path(__file__).with_name("labels")
_PICTURES = {".jpg", ".jpeg", ".png"}


class DatasetError(ValueError):
    """A set whose files are missing, damaged or not laid out as published."""


class CocoImage(BaseModel):
    """A picture in an annotation file of COCO's kind."""

    id: int
    file_name: str


class Category(BaseModel):
    """A category in an annotation file of COCO's kind."""

    id: int
    name: str


def first_folder(root: Path, *names: str) -> Path:
    """The first of the folders `names` under `root` that is there; "." is `root` itself.

    Raises:
        DatasetError: none is.
    """
    return _first(root, names, what="folder", there=Path.is_dir)


def first_file(root: Path, *names: str) -> Path:
    """The first of the files `names` under `root` that is there.

    Raises:
        DatasetError: none is.
    """
    return _first(root, names, what="file", there=Path.is_file)


def _first(root: Path, names: Iterable[str], *, what: str, there: Callable[[Path], bool]) -> Path:
    expected = " or ".join(names)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: expected one with {expected}")
    for name in names:
        if there(root / name):
            return root / name
    raise DatasetError(f"{root} has no {what} {expected}")


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in _PICTURES)


def list_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped.

    Raises:
        DatasetError: the file is no text, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a text file in UTF-8") from error
    if not any(lines):
        raise DatasetError(f"{path} is empty")
    return [line for line in lines if line]


def read_labels(name: str) -> list[str]:
    """The labels of a set that does not tell them itself, line by line."""
    return list_lines(_LABELS / name)


def read_annotations(path: Path, kind: Any) -> Any:
    """Reads a JSON file as a type; what the type does not name is not looked at.

    Raises:
        DatasetError: it is no JSON, or not of that type.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path} is another file: {first_fault(error)}") from error


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """A picture as it is stored, uint8 RGB [H,W,3].

    Not turned by its EXIF tag: masks and boxes of the sets are of the stored pixels, and the
    loaders that published figures come from do not turn pictures either.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    return np.asarray(_open(path).convert("RGB"))


def read_indices(path: Path) -> NDArray[np.uint8]:
    """A label map, uint8 [H,W]: the indices of a palette PNG, or grey values.

    Raises:
        DatasetError: it is missing, cannot be read, or has neither.
    """
    image = _open(path)
    if image.mode not in ("P", "L"):
        raise DatasetError(f"{path} is {image.mode}: a label map is a palette or 8-bit grey PNG")
    return np.asarray(image)


def _open(path: Path) -> Image.Image:
    try:
        image: Image.Image
        with open_image(path) as image:
            image.load()
        return image
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such picture") from error
    except Exception as error:  # Pillow raises almost anything on damaged data.
        raise DatasetError(f"{path} cannot be read as a picture") from error


def spread(items: Iterable[Item], *, limit: int | None, source: Path) -> tuple[Item, ...]:
    """At most `limit` items, evenly over all of them: sets are often sorted by class.

    Raises:
        DatasetError: there is no item in `source`.
    """
    every = tuple(items)
    if not every:
        raise DatasetError(f"{source} holds no pictures of the set")
    if limit is None or limit >= len(every):
        return every
    return tuple(every[index * len(every) // limit] for index in range(limit))
