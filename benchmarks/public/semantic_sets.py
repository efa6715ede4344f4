"""The sets of semantic segmentation: their labels, their pictures, and how they store the truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.public.files import (
    DatasetError,
    first_file,
    first_folder,
    list_lines,
    list_pictures,
    read_indices,
    read_json,
    read_labels,
    read_pixels,
    spread,
    value_of,
)

Truth = NDArray[np.int16]
ReadTruth = Callable[[Path], Truth]

IGNORED = -1
"""In a truth: a pixel that is not judged. Labels are 0 to K-1, and K is the background."""

_VOID = 255
_NEVER = -2  # a value that the set does not have: another set, or another layout
_MATERIAL = re.compile(r"(wall|floor|ceiling)-(brick|concrete|marble|panel|stone|tile|wood)")
_LAST_THING = 90  # of COCO's category ids, stuff comes after


@dataclass(frozen=True)
class SemanticSet:
    """A set of pictures with a label for each pixel.

    Attributes:
        labels: K names, as they are asked.
        background: Whether pixels of no label are judged, as a class of their own.
        pictures: Path of each picture, and of its truth.
        read_truth: Path -> int16 [H,W], see `IGNORED`.
    """

    labels: tuple[str, ...]
    background: bool
    pictures: tuple[tuple[Path, Path], ...]
    read_truth: ReadTruth


def read_pascal_voc(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads VOC 2012: `ImageSets/Segmentation/val.txt`, 20 labels and the background.

    Raises:
        DatasetError: the layout is another one.
    """
    labels = read_labels("pascal_voc.txt")
    folder = first_folder(root, ["VOCdevkit/VOC2012", "VOC2012", "."])
    return SemanticSet(
        labels=tuple(labels),
        background=True,
        pictures=_voc_pictures(
            folder, masks="SegmentationClass", listing="ImageSets/Segmentation", limit=limit
        ),
        read_truth=_by_table({0: len(labels), **_counted(labels, first=1), _VOID: IGNORED}),
    )


def read_pascal_context(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads Pascal-Context as mmsegmentation stores it: 59 labels, 0 is not judged.

    Raises:
        DatasetError: the layout is another one.
    """
    return _context(root, limit=limit, background=False)


def read_pascal_context_60(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads Pascal-Context likewise, with 0 judged as the background: 60 classes.

    Raises:
        DatasetError: the layout is another one.
    """
    return _context(root, limit=limit, background=True)


def _context(root: Path, *, limit: int | None, background: bool) -> SemanticSet:
    labels = read_labels("pascal_context.txt")
    folder = first_folder(root, ["VOCdevkit/VOC2010", "VOC2010", "."])
    zero = len(labels) if background else IGNORED
    return SemanticSet(
        labels=tuple(labels),
        background=background,
        pictures=_voc_pictures(
            folder,
            masks="SegmentationClassContext",
            listing="ImageSets/SegmentationContext",
            limit=limit,
        ),
        read_truth=_by_table({0: zero, **_counted(labels, first=1), _VOID: IGNORED}),
    )


def read_ade20k(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads ADEChallengeData2016: the labels of `objectInfo150.txt`, the first name of each.

    Raises:
        DatasetError: the layout is another one, or the table of labels is.
    """
    folder = first_folder(root, ["ADEChallengeData2016", "."])
    table = first_file(folder, ["objectInfo150.txt"])
    heading, *rows = ([cell.strip() for cell in row.split("\t")] for row in list_lines(table))
    if (
        heading[0] != "Idx"
        or heading[-1] != "Name"
        or [row[0] for row in rows] != [str(index) for index in range(1, len(rows) + 1)]
    ):
        raise DatasetError(f"{table} is not a table with Idx from 1 to Name, apart by tabs")
    labels = [row[-1].partition(",")[0].strip() for row in rows]
    images = first_folder(folder, ["images/validation"])
    masks = first_folder(folder, ["annotations/validation"])
    return SemanticSet(
        labels=_distinct(labels, source=table),
        background=False,
        pictures=_pairs(list_pictures(images), masks=masks, source=images, limit=limit),
        read_truth=_by_table({0: IGNORED, **_counted(labels, first=1), _VOID: IGNORED}),
    )


def read_coco_stuff(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads COCO-Stuff's val2017: 171 labels, stored as COCO's category id less 1.

    Raises:
        DatasetError: the layout is another one.
    """
    rows = [line.partition(" ") for line in read_labels("coco_stuff.txt")]
    table = {int(value): index for index, (value, _, _) in enumerate(rows)}
    return SemanticSet(
        labels=tuple(spoken(name) for _, _, name in rows),
        background=False,
        pictures=_stuff_pictures(root, limit=limit),
        read_truth=_by_table({**table, _VOID: IGNORED}),
    )


def read_coco_object(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads COCO-Stuff's val2017 with its 80 things as labels, all else as the background.

    Raises:
        DatasetError: the layout is another one.
    """
    rows = [line.partition(" ") for line in read_labels("coco_stuff.txt")]
    things = [row for row in rows if int(row[0]) < _LAST_THING]
    table = {int(value): len(things) for value, _, _ in rows}
    table |= {int(value): index for index, (value, _, _) in enumerate(things)}
    return SemanticSet(
        labels=tuple(name for _, _, name in things),
        background=True,
        pictures=_stuff_pictures(root, limit=limit),
        read_truth=_by_table({**table, _VOID: len(things)}),
    )


def read_coco_panoptic(root: Path, *, limit: int | None) -> SemanticSet:
    """Reads `panoptic_val2017.json` and its PNGs, whose segment id is R + 256 G + 65536 B.

    Raises:
        DatasetError: the layout is another one.
    """
    path = first_file(root, ["annotations/panoptic_val2017.json", "panoptic_val2017.json"])
    content = read_json(path, keys=["annotations", "categories"])
    images = first_folder(root, ["val2017", "images/val2017"])
    masks = first_folder(root, ["annotations/panoptic_val2017", "panoptic_val2017"])
    categories = {
        value_of(entry, key="id", kind=int, source=path): value_of(
            entry, key="name", kind=str, source=path
        )
        for entry in content["categories"]
    }
    index = {category: place for place, category in enumerate(sorted(categories))}
    segments = {}
    for entry in content["annotations"]:
        name = value_of(entry, key="file_name", kind=str, source=path)
        parts = value_of(entry, key="segments_info", kind=list, source=path)
        segments[name] = {
            value_of(part, key="id", kind=int, source=path): index.get(part.get("category_id"))
            for part in parts
        }

    def read_truth(mask: Path) -> Truth:
        return _panoptic_truth(mask, segments=segments[mask.name])

    pictures = [images / Path(name).with_suffix(".jpg") for name in sorted(segments)]
    return SemanticSet(
        labels=_distinct([spoken(categories[each]) for each in sorted(categories)], source=path),
        background=False,
        pictures=_pairs(pictures, masks=masks, source=path, limit=limit),
        read_truth=read_truth,
    )


SEMANTIC: dict[str, Callable[..., SemanticSet]] = {
    "pascal-voc": read_pascal_voc,
    "pascal-context": read_pascal_context,
    "pascal-context-60": read_pascal_context_60,
    "ade20k": read_ade20k,
    "coco-stuff": read_coco_stuff,
    "coco-object": read_coco_object,
    "coco-panoptic": read_coco_panoptic,
}
"""Set -> what reads it from (root, limit=)."""


def spoken(name: str) -> str:
    """A COCO category as words: "wall-brick" is a brick wall, "tree-merged" a tree."""
    plain = re.sub(r"(-other|-stuff|-merged)+$", "", name)
    plain = _MATERIAL.sub(r"\2 \1", plain)
    return plain.replace("-", " ")


def _panoptic_truth(mask: Path, *, segments: Mapping[int, int | None]) -> Truth:
    red, green, blue = np.moveaxis(read_pixels(mask).astype(np.int64), -1, 0)
    ids, places = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    values = []
    for each in ids.tolist():
        value = IGNORED if each == 0 else segments.get(each)
        if value is None:
            raise DatasetError(f"{mask} has the segment {each}, whose category is not told")
        values.append(value)
    truth: Truth = np.array(values, np.int16)[places.reshape(red.shape)]
    return truth


def _by_table(values: Mapping[int, int]) -> ReadTruth:
    """What reads a label map with these values, and refuses any other."""
    table = np.full(256, _NEVER, np.int16)
    table[list(values)] = list(values.values())

    def read_truth(path: Path) -> Truth:
        stored = read_indices(path)
        truth: Truth = table[stored]
        wrong = stored[truth == _NEVER]
        if wrong.size:
            raise DatasetError(f"{path} holds the label {wrong[0]}, which the set does not have")
        return truth

    return read_truth


def _counted(labels: Iterable[str], *, first: int) -> dict[int, int]:
    return {first + index: index for index, _ in enumerate(labels)}


def _distinct(labels: list[str], *, source: Path) -> tuple[str, ...]:
    if not labels or len(set(labels)) < len(labels) or "" in labels:
        raise DatasetError(f"{source} has no labels, an empty one, or one twice")
    return tuple(labels)


def _voc_pictures(
    folder: Path, *, masks: str, listing: str, limit: int | None
) -> tuple[tuple[Path, Path], ...]:
    path = first_file(folder, [f"{listing}/val.txt"])
    images = first_folder(folder, ["JPEGImages"])
    pictures = [images / f"{name}.jpg" for name in list_lines(path)]
    return _pairs(pictures, masks=first_folder(folder, [masks]), source=path, limit=limit)


def _stuff_pictures(root: Path, *, limit: int | None) -> tuple[tuple[Path, Path], ...]:
    images = first_folder(root, ["val2017", "images/val2017"])
    names = ["stuffthingmaps/val2017", "stuffthingmaps_trainval2017/val2017", "annotations/val2017"]
    masks = first_folder(root, names)
    return _pairs(list_pictures(images), masks=masks, source=images, limit=limit)


def _pairs(
    pictures: Iterable[Path], *, masks: Path, source: Path, limit: int | None
) -> tuple[tuple[Path, Path], ...]:
    pairs = ((picture, masks / f"{picture.stem}.png") for picture in pictures)
    return spread(pairs, limit=limit, source=source)
