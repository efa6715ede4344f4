"""Zero-shot classification: ImageNet, ImageNet-v2 and Places365, top-1 and top-5."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.progress import track
from benchmarks.public.files import DatasetError, find, list_lines, list_pictures, read_pixels
from benchmarks.public.record import Accuracy
from benchmarks.quality.ranking import embed_nouns, share_within

if TYPE_CHECKING:
    from samclip_sdk import SamClip

_WNID = re.compile(r"n\d{8}")
_CLASS_NAMES = "classnames.txt"
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class LabelledPictures:
    """K labels, some of which may read alike, and pictures with the place of their label."""

    labels: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]


def read_imagenet(root: Path) -> LabelledPictures:
    """Reads `val/<wnid>/*.JPEG`; labels are in the order of the sorted wnids.

    The names are open_clip's for the 1000 classes, or those of `classnames.txt` in `root`, a wnid
    and a name a line.
    """
    folder = find(root, "val", ".")
    folders = {each.name: each for each in folder.iterdir() if _WNID.fullmatch(each.name)}
    if not folders:
        raise DatasetError(f"{folder} has no folders named by wnid, such as n01440764")
    names = _own_names(root)
    if names is None:
        if len(folders) != _IMAGENET_CLASSES:
            raise DatasetError(
                f"{folder} has {len(folders)} classes, expected {_IMAGENET_CLASSES}: for others "
                f"put their wnids and names into {root / _CLASS_NAMES}"
            )
        names = dict(zip(sorted(folders), _imagenet_names(), strict=True))
    if unknown := sorted(set(folders) - set(names)):
        raise DatasetError(f"{root / _CLASS_NAMES} has no name for {folder / unknown[0]}")
    wnids = sorted(names)
    known = [(folders[wnid], place) for place, wnid in enumerate(wnids) if wnid in folders]
    return LabelledPictures(tuple(names[wnid] for wnid in wnids), _labelled(known))


def read_imagenet_v2(root: Path) -> LabelledPictures:
    """Reads the folders `0` to `999`: the places of the classes among the sorted wnids.

    Names as for ImageNet.
    """
    names = _own_names(root)
    labels = _imagenet_names() if names is None else [names[wnid] for wnid in sorted(names)]
    folder = find(root, "imagenetv2-matched-frequency-format-val", ".")
    folders = sorted((int(each.name), each) for each in folder.iterdir() if each.name.isdecimal())
    if not folders or folders[-1][0] >= len(labels):
        raise DatasetError(f"{folder} does not hold the folders 0 to {len(labels) - 1}")
    return LabelledPictures(tuple(labels), _labelled([(each, place) for place, each in folders]))


def read_places365(root: Path) -> LabelledPictures:
    """Reads `places365_val.txt`, `categories_places365.txt` and the pictures they name.

    `/a/apartment_building/outdoor` is asked as "apartment building outdoor".
    """
    categories, listing = find(root, "categories_places365.txt"), find(root, "places365_val.txt")
    folder = find(root, "val_256", "val_large", "val")
    names = {index: name for name, index in _numbered_lines(categories)}
    if sorted(names) != list(range(len(names))):
        raise DatasetError(f"{categories} does not number its categories from 0 without gaps")
    found = _numbered_lines(listing)
    for name, index in found:
        if index not in names:
            raise DatasetError(f"{listing} gives {name} the category {index}, which has no name")
    labels = [re.sub(r"[/_]", " ", names[index][3:]) for index in range(len(names))]
    return LabelledPictures(tuple(labels), tuple((folder / name, index) for name, index in found))


CLASSIFICATION: dict[str, Callable[[Path], LabelledPictures]] = {
    "imagenet": read_imagenet,
    "imagenet-v2": read_imagenet_v2,
    "places365": read_places365,
}
"""Set -> what reads it from its folder."""


def measure_accuracy(model: SamClip, data: LabelledPictures) -> Accuracy:
    """Ranks all labels of every picture, as `SamClip.classify` does.

    Of equal scores the first label wins, so that of two labels that read alike only the first can
    be right.
    """
    classes, found = embed_nouns(model, data.labels), []
    for path, truth in track(data.pictures, "pictures"):
        scores = classes @ model.embed_image(read_pixels(path))
        before = (scores[:truth] >= scores[truth]).sum() + (scores[truth:] > scores[truth]).sum()
        found.append(int(before))
    ranks, task = np.array(found), model.manifest.tasks.classification
    return Accuracy(
        pictures=len(ranks),
        labels=len(data.labels),
        templates=len(model.manifest.text.templates),
        resolution_px=task.resolution,
        crop=task.crop,
        top1=share_within(ranks, 1),
        top5=share_within(ranks, 5),
    )


def _labelled(folders: list[tuple[Path, int]]) -> tuple[tuple[Path, int], ...]:
    return tuple((picture, place) for each, place in folders for picture in list_pictures(each))


def _own_names(root: Path) -> dict[str, str] | None:
    """Name by wnid, as in the set's own file; None without one."""
    path = root / _CLASS_NAMES
    return dict(_pairs(path, r"(n\d{8}) +(.+)", "a wnid and a name")) if path.is_file() else None


def _imagenet_names() -> list[str]:
    try:
        from open_clip import IMAGENET_CLASSNAMES
    except ImportError as error:
        raise DatasetError(
            "ImageNet's class names come from open_clip: pip install open_clip_torch, or put "
            f"wnids and names into {_CLASS_NAMES}"
        ) from error
    return list(IMAGENET_CLASSNAMES)


def _pairs(path: Path, form: str, what: str) -> Iterator[tuple[str, str]]:
    """The two groups of a regular expression, of each line."""
    for line in list_lines(path):
        found = re.fullmatch(form, line)
        if found is None:
            raise DatasetError(f"{path} has the line {line!r}, expected {what}")
        yield found[1], found[2]


def _numbered_lines(path: Path) -> list[tuple[str, int]]:
    pairs = _pairs(path, r"(.+) (\d+)", "a name and a number")
    return [(name, int(number)) for name, number in pairs]
