"""The layout of a set of photographs: COCO's, with a few fields more.

A set is a folder: pictures in `images/`, `instances.json` in the format of COCO's instances, and
perhaps `captions.json` in that of its captions. What COCO does not have stands in fields that other
readers pass over:

* `info`: `terms` (text), `open` (whether anybody may use the pictures), `complete` (whether all
  that the categories name is labelled in every picture), `source` (text);
* an image: `split` ("train", "val" or "calibration") and `labels` (names of what the picture
  shows). LVIS's `neg_category_ids` and `not_exhaustive_category_ids` are heeded;
* a category: COCO's own `isthing`, and `nameless`, of masks whose category is no name;
* an annotation: `semantic`, where one mask holds all of a kind. It may have no `segmentation`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from training.errors import TrainingError
from training.real.records import key_hash

INSTANCES_NAME = "instances.json"
CAPTIONS_NAME = "captions.json"
PICTURES_FOLDER = "images"

PhotographSplit = Literal["train", "val", "calibration"]
SPLITS: tuple[str, ...] = get_args(PhotographSplit)

_HELD_OUT_OF = 100  # where a set has no splits, one picture in so many is of "val"


@dataclass(frozen=True)
class Category:
    """What annotations are of.

    Attributes:
        name: in lower case, words apart by spaces.
        thing: whether it can be counted; else it is stuff, such as grass.
        nameless: the name is none: its masks tell where something is, and not what.
    """

    name: str
    thing: bool
    nameless: bool


class Annotation(NamedTuple):
    """One annotation of a picture.

    Attributes:
        category: index in the set's categories.
        box: float32 [4], XYXY in pixels of the picture.
        area_px: of the mask, or of the box where the set does not say.
        crowd: it holds several things that nobody told apart.
        semantic: it holds all of its kind in the picture.
        segmentation: COCO's, as JSON text, for `photograph_masks.decode_mask`; empty without mask.
    """

    category: int
    box: np.ndarray
    area_px: float
    crowd: bool
    semantic: bool
    segmentation: bytes


def clean_name(name: str) -> str:
    """A name as it is compared and taught: in lower case, words apart by one space."""
    return " ".join(name.replace("_", " ").lower().split())


def read_category(entry: dict[str, Any]) -> Category:
    """A category from its entry; what it does not say is a thing with a name."""
    return Category(
        name=clean_name(entry["name"]),
        thing=bool(entry.get("isthing", True)),
        nameless=bool(entry.get("nameless", False)),
    )


def file_names(images: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    """Where the pictures lie. LVIS gives a COCO address only: its file, or with the folder."""
    found = []
    for image in images:
        if "file_name" in image:
            found.append(image["file_name"])
            continue
        parent, name = image["coco_url"].split("/")[-2:]
        found.append(f"{parent}/{name}" if (folder / parent).is_dir() else name)
    return found


def split_of(file_name: str) -> str:
    """The split of a picture whose set has none: of 100 one of "val", one of "calibration"."""
    held_out = {0: "val", 1: "calibration"}
    return held_out.get(key_hash(os.path.basename(file_name)) % _HELD_OUT_OF, "train")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Reads one JSON file of a set, which holds an object.

    Raises:
        TrainingError: the folder or the file is missing, or it is none of the kind.
    """
    if not folder.is_dir():
        raise TrainingError(f"there is no set {folder.name}: no folder {folder}")
    path = folder / name
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(f"{folder} is no set of photographs: it has no {name}") from error
    except ValueError as error:
        raise TrainingError(f"{path} is no JSON file: {error}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is not of COCO's layout: it is no object")
    return content


def read_captions(folder: Path, rows: dict[int, int]) -> dict[int, tuple[str, ...]]:
    """Captions by picture; those of pictures that the set does not have are left out."""
    if not (folder / CAPTIONS_NAME).is_file():
        return {}
    found: dict[int, tuple[str, ...]] = {}
    try:
        for each in read_json(folder, CAPTIONS_NAME)["annotations"]:
            row = rows.get(each["image_id"])
            if row is not None:
                found[row] = (*found.get(row, ()), str(each["caption"]).strip())
    except (KeyError, TypeError) as error:
        path = folder / CAPTIONS_NAME
        raise TrainingError(f"{path}: {type(error).__name__}: {error}") from error
    return found
