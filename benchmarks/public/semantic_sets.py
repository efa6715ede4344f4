"""The sets of semantic segmentation: their labels, their pictures, and how they store the truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.public import files

Truth = NDArray[np.int16]
Pairs = tuple[tuple[Path, Path], ...]
"""Path of each picture, and of its truth."""

IGNORED = -1
"""In a truth: a pixel that is not judged. Labels are 0 to K-1, and K is the background."""

_IMAGES = ("val2017", "images/val2017")
_VOID = 255
_NEVER = -2  # a value that the set does not have: another set, or another layout
_MATERIAL = re.compile(r"(wall|floor|ceiling)-(brick|concrete|marble|panel|stone|tile|wood)")
_LAST_THING = 90  # of COCO's category ids, stuff comes after


@dataclass(frozen=True)
class SemanticSet:
    """Pictures with a label for each pixel, by path of the picture and of its truth.

    There are K labels, as they are asked. `background` is whether pixels of none of them are
    judged, as a class of their own; `read_truth` makes int16 [H,W] of a path, see `IGNORED`.
    """

    labels: tuple[str, ...]
    background: bool
    pictures: Pairs
    read_truth: Callable[[Path], Truth]


def read_pascal_voc(root: Path) -> SemanticSet:
    """Reads VOC 2012: `ImageSets/Segmentation/val.txt`, 20 labels and the background."""
    folder = files.find(root, "VOCdevkit/VOC2012", "VOC2012", ".")
    return _read_voc(folder, "pascal_voc.txt", context="", background=True)


def read_pascal_context(root: Path) -> SemanticSet:
    """Reads Pascal-Context as mmsegmentation stores it: 59 labels, 0 is not judged."""
    folder = files.find(root, "VOCdevkit/VOC2010", "VOC2010", ".")
    return _read_voc(folder, "pascal_context.txt", context="Context", background=False)


def read_pascal_context_60(root: Path) -> SemanticSet:
    """Reads Pascal-Context likewise, with 0 judged as the background: 60 classes."""
    return replace(read_pascal_context(root), background=True, read_truth=_from_one(59, zero=59))


def _read_voc(folder: Path, names: str, *, context: str, background: bool) -> SemanticSet:
    labels = files.read_labels(names)
    listing = files.find(folder, f"ImageSets/Segmentation{context}/val.txt")
    images = files.find(folder, "JPEGImages")
    masks = files.find(folder, f"SegmentationClass{context}")
    pictures = (images / f"{name}.jpg" for name in files.list_lines(listing))
    return SemanticSet(
        labels=tuple(labels),
        background=background,
        pictures=_pairs(pictures, masks=masks),
        read_truth=_from_one(len(labels), zero=len(labels) if background else IGNORED),
    )


def read_ade20k(root: Path) -> SemanticSet:
    """Reads ADEChallengeData2016: the labels of `objectInfo150.txt`, the first name of each."""
    folder = files.find(root, "ADEChallengeData2016", ".")
    table = files.find(folder, "objectInfo150.txt")
    heading, *rows = ([cell.strip() for cell in row.split("\t")] for row in files.list_lines(table))
    counted = [row[0] for row in rows] == [str(index) for index in range(1, len(rows) + 1)]
    if heading[0] != "Idx" or heading[-1] != "Name" or not counted:
        raise files.DatasetError(f"{table} is not a table with Idx from 1 to Name, apart by tabs")
    images = files.find(folder, "images/validation")
    masks = files.find(folder, "annotations/validation")
    return SemanticSet(
        labels=files.distinct((row[-1].partition(",")[0].strip() for row in rows), source=table),
        background=False,
        pictures=_pairs(files.list_pictures(images), masks=masks),
        read_truth=_from_one(len(rows), zero=IGNORED),
    )


def read_coco_stuff(root: Path) -> SemanticSet:
    """Reads COCO-Stuff's val2017: 171 labels, stored as COCO's category id less 1."""
    places = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
    images = files.find(root, *_IMAGES)
    masks = files.find(root, *(f"{place}/val2017" for place in places))
    names = _stuff_names()
    values = {value: index for index, value in enumerate(names)} | {_VOID: IGNORED}
    return SemanticSet(
        labels=tuple(map(spoken, names.values())),
        background=False,
        pictures=_pairs(files.list_pictures(images), masks=masks),
        read_truth=partial(_read_map, values=values),
    )


def read_coco_object(root: Path) -> SemanticSet:
    """Reads COCO-Stuff's val2017 with its 80 things as labels, all else as the background."""
    names = _stuff_names()
    things = {value: name for value, name in names.items() if value < _LAST_THING}
    values = dict.fromkeys([*names, _VOID], len(things))
    values |= {value: index for index, value in enumerate(things)}
    read_truth, labels = partial(_read_map, values=values), tuple(things.values())
    return replace(read_coco_stuff(root), labels=labels, background=True, read_truth=read_truth)


def read_coco_panoptic(root: Path) -> SemanticSet:
    """Reads `panoptic_val2017.json` and its PNGs, whose segment id is R + 256 G + 65536 B."""
    path = files.find(root, "annotations/panoptic_val2017.json", "panoptic_val2017.json")
    row = files.shape(file_name=str, segments_info=list[files.shape(id=int, category_id=int)])
    panoptic = files.shape(annotations=list[row], categories=files.CATEGORIES)
    content = files.read_annotations(path, panoptic)
    images = files.find(root, *_IMAGES)
    masks = files.find(root, "annotations/panoptic_val2017", "panoptic_val2017")
    categories = sorted(content.categories, key=lambda each: each.id)
    index = {each.id: place for place, each in enumerate(categories)}
    segments = {
        each.file_name: {part.id: index.get(part.category_id) for part in each.segments_info}
        for each in content.annotations
    }
    pictures = (images / Path(name).with_suffix(".jpg") for name in sorted(segments))
    return SemanticSet(
        labels=files.distinct((spoken(each.name) for each in categories), source=path),
        background=False,
        pictures=_pairs(pictures, masks=masks),
        read_truth=lambda mask: _panoptic_truth(mask, segments=segments[mask.name]),
    )


SEMANTIC: dict[str, Callable[[Path], SemanticSet]] = {
    "pascal-voc": read_pascal_voc,
    "pascal-context": read_pascal_context,
    "pascal-context-60": read_pascal_context_60,
    "ade20k": read_ade20k,
    "coco-stuff": read_coco_stuff,
    "coco-object": read_coco_object,
    "coco-panoptic": read_coco_panoptic,
}
"""Set -> what reads it from its folder."""


def spoken(name: str) -> str:
    """A COCO category as words: "wall-brick" is a brick wall, "tree-merged" a tree."""
    plain = re.sub(r"(-other|-stuff|-merged)+$", "", name)
    return _MATERIAL.sub(r"\2 \1", plain).replace("-", " ")


def _panoptic_truth(mask: Path, *, segments: Mapping[int, int | None]) -> Truth:
    red, green, blue = np.moveaxis(files.read_pixels(mask).astype(np.int64), -1, 0)
    ids, places = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    values = []
    for each in ids.tolist():
        value = IGNORED if each == 0 else segments.get(each)
        if value is None:
            raise files.DatasetError(f"{mask} has the segment {each}, whose category is not told")
        values.append(value)
    return np.array(values, np.int16)[places.reshape(red.shape)]


def _from_one(labels: int, *, zero: int) -> Callable[[Path], Truth]:
    """What reads a label map that counts so many labels from 1."""
    values = {0: zero, **{each + 1: each for each in range(labels)}, _VOID: IGNORED}
    return partial(_read_map, values=values)


def _read_map(path: Path, *, values: Mapping[int, int]) -> Truth:
    """Reads a label map with these values, and refuses any other."""
    table, stored = np.full(256, _NEVER, np.int16), files.read_indices(path)
    table[list(values)] = list(values.values())
    wrong = stored[table[stored] == _NEVER]
    if wrong.size:
        raise files.DatasetError(f"{path} holds the label {wrong[0]}, which the set does not have")
    return table[stored]


def _stuff_names() -> dict[int, str]:
    """Name by stored value."""
    rows = (line.partition(" ") for line in files.read_labels("coco_stuff.txt"))
    return {int(value): name for value, _, name in rows}


def _pairs(pictures: Iterable[Path], *, masks: Path) -> Pairs:
    return tuple((picture, masks / f"{picture.stem}.png") for picture in pictures)
