"""The files of a public set: found, read, or refused with a DatasetError that names the path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError, create_model

from samclip_sdk.image.loading import open_image
from samclip_sdk.system.records import first_fault

T = TypeVar("T")

_LABELS = Path(__file__).with_name("labels")
_IMAGES = {".jpg", ".jpeg", ".png"}


class DatasetError(ValueError):
    """A set whose files are missing, damaged or not laid out as published."""


def shape(**fields: Any) -> Any:
    """An object in a JSON file with fields of these types; a pair is a type and its default.

    What else the object has is not looked at.
    """
    pairs = {
        name: kind if isinstance(kind, tuple) else (kind, ...) for name, kind in fields.items()
    }
    return create_model("Shape", **pairs)


IMAGES = list[shape(id=int, file_name=str)]
"""The images of an annotation file of COCO's kind."""

CATEGORIES = list[shape(id=int, name=str)]
"""Its categories."""


def find(root: Path, *names: str) -> Path:
    """The first of some files, or folders, under `root` that is there; "." is `root` itself."""
    expected, is_file = " or ".join(names), bool(Path(names[0]).suffix)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: expected one with {expected}")
    for path in (root / name for name in names):
        if path.is_file() if is_file else path.is_dir():
            return path
    raise DatasetError(f"{root} has no {'file' if is_file else 'folder'} {expected}")


def take(data: Any, *, limit: int | None, source: Path) -> Any:
    """At most `limit` of a set's `images`, evenly over all: sets are often sorted by class."""
    if not data.images:
        raise DatasetError(f"{source} holds no images of the set")
    return replace(data, images=tuple(evenly(data.images, limit)))


def evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """At most so many items, evenly over all."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def by_turns(groups: Iterable[Sequence[T]]) -> list[T]:
    """The first item of each group, then the second of each, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in _IMAGES)


def list_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def read_labels(name: str) -> list[str]:
    """The labels of a set that does not tell them itself, line by line."""
    return list_lines(_LABELS / name)


def read_annotations(path: Path, kind: Any) -> Any:
    """Reads a JSON file as a type, see `shape`."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path} is another file: {first_fault(error)}") from error


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """An image as it is stored, uint8 RGB [H,W,3].

    Not turned by its EXIF tag: masks and boxes of the sets are of the stored pixels, and the
    loaders that published figures come from do not turn images either.
    """
    with open_image(path) as image:
        return np.asarray(image.convert("RGB"))
