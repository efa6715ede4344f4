"""The layout of a set of photographs: COCO's, with a few fields more.

A set is a folder with images in `images/` and `instances.json` in the format of COCO's instances.
Facts that COCO does not have are in fields that other readers ignore:

* `info`: `terms` (text), `open` (whether anybody may use the images), `complete` (whether all
  that the categories name is labelled in every image), `source` (text);
* an image: `split` ("train", "val" or "calibration") and `labels` (names of what the image
  shows; see `clean_labels`). `neg_category_ids` and `not_exhaustive_category_ids`, as LVIS has
  them, are heeded;
* a category: COCO's own `isthing`, and `nameless`, of masks whose category is no name;
* an annotation: `semantic`, where one mask holds all of a kind, and `single`, where it is one thing
  for all that. It may have no `segmentation`.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import ijson

from training.errors import TrainingError
from training.real.records import key_hash

INSTANCES_NAME = "instances.json"
IMAGES_FOLDER = "images"

PhotographSplit = Literal["train", "val", "calibration"]
SPLITS: tuple[str, ...] = get_args(PhotographSplit)

_MACHINE = re.compile(r"[\d:={}]")
_HELD_OUT_OF = 100  # where a set has no splits, one image in so many is of "val"


@dataclass(frozen=True)
class Category:
    """The category of annotations.

    Attributes:
        name: in lower case, words apart by spaces.
        thing: whether it can be counted; else it is stuff, such as grass.
        nameless: the name is none: its masks tell where something is, and not what.
    """

    name: str
    thing: bool
    nameless: bool


def clean_name(name: str) -> str:
    """A name as it is compared and taught: in lower case, words apart by one space."""
    return " ".join(html.unescape(name).replace("_", " ").lower().split())


def clean_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The names among the labels of an image, cleaned.

    What has a digit or a mark of machines is none: cameras and sites add such tags to photographs.
    """
    return tuple(clean_name(label) for label in labels if not _MACHINE.search(clean_name(label)))


def read_category(entry: dict[str, Any]) -> Category:
    """A category from its entry; what it does not say is a thing with a name."""
    return Category(
        name=clean_name(entry["name"]),
        thing=bool(entry.get("isthing", True)),
        nameless=bool(entry.get("nameless", False)),
    )


def file_names(images: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    """Returns the images' files. LVIS gives a COCO address only: its file, or with the folder."""
    found = []
    for image in images:
        if "file_name" in image:
            found.append(image["file_name"])
            continue
        parent, name = image["coco_url"].split("/")[-2:]
        found.append(f"{parent}/{name}" if (folder / parent).is_dir() else name)
    return found


def split_of(file_name: str) -> str:
    """The split of an image whose set has none: of 100 one of "val", one of "calibration"."""
    held_out = {0: "val", 1: "calibration"}
    return held_out.get(key_hash(os.path.basename(file_name)) % _HELD_OUT_OF, "train")


def find_file(folder: Path, name: str) -> Path:
    """The path of one file of a set; raises TrainingError if the folder or the file is missing."""
    if not folder.is_dir():
        raise TrainingError(f"there is no set {folder.name}: no folder {folder}")
    if not (folder / name).is_file():
        raise TrainingError(f"{folder} is no set of photographs: it has no {name}")
    return folder / name


def read_entries(path: Path, location: str) -> Iterator[Any]:
    """Yields the values at one place of a JSON file, which may be larger than the memory.

    The place is `info`, or `images.item` for the elements of `images`.

    Raises:
        ValueError: it is no JSON file.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from ijson.items(file, location, use_float=True)
    except ijson.JSONError as error:
        raise ValueError(str(error)) from error
