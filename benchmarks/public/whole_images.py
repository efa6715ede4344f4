"""Whole images: zero-shot classification, and retrieval between images and captions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.intervals import Bootstrap
from benchmarks.metrics.names import rank_of_truth, ranks_of_own, top_k
from benchmarks.public import files
from benchmarks.public.files import DatasetError, find, list_images, list_lines, read_pixels
from benchmarks.suite import Measuring
from samclip_sdk import SamClip
from samclip_sdk.errors import TextTruncatedWarning

_WNID = re.compile(r"n\d{8}")
_CLASS_NAMES = "classnames.txt"
_IMAGENET_CLASSES = 1000
_CAPTIONS = 5  # a few COCO images have six or seven; published figures take five of each


@dataclass(frozen=True)
class LabelledImages:
    """K labels, some of which may read alike, and images with the index of their label."""

    labels: tuple[str, ...]
    images: tuple[tuple[Path, int], ...]


def read_imagenet(root: Path) -> LabelledImages:
    """Reads `val/<wnid>/*.JPEG`; labels are in the order of the sorted wnids.

    The names are open_clip's for the 1000 classes, or those of `classnames.txt` in `root`, a wnid
    and a name a line.
    """
    folder, names = find(root, "val", "."), _own_names(root)
    folders = {each.name: each for each in folder.iterdir() if _WNID.fullmatch(each.name)}
    if not names:
        if len(folders) != _IMAGENET_CLASSES:
            raise DatasetError(
                f"{folder} has {len(folders)} classes, expected {_IMAGENET_CLASSES}: for others "
                f"put their wnids and names into {root / _CLASS_NAMES}"
            )
        names = dict(zip(sorted(folders), _imagenet_names(), strict=True))
    if unknown := sorted(set(folders) - set(names)):
        raise DatasetError(f"{root / _CLASS_NAMES} has no name for {folder / unknown[0]}")
    known = [(folders[wnid], index) for index, wnid in enumerate(names) if wnid in folders]
    return LabelledImages(tuple(names.values()), _labelled(known))


def read_imagenet_v2(root: Path) -> LabelledImages:
    """Reads the folders `0` to `999`: the indices of the classes among the sorted wnids.

    Names as for ImageNet.
    """
    labels = tuple(_own_names(root).values()) or _imagenet_names()
    folder = find(root, "imagenetv2-matched-frequency-format-val", ".")
    folders = sorted((int(each.name), each) for each in folder.iterdir() if each.name.isdecimal())
    if folders and folders[-1][0] >= len(labels):
        raise DatasetError(f"{folder} does not hold the folders 0 to {len(labels) - 1}")
    return LabelledImages(labels, _labelled((each, index) for index, each in folders))


def read_places365(root: Path) -> LabelledImages:
    """Reads `places365_val.txt`, `categories_places365.txt` and the images they name.

    `/a/apartment_building/outdoor` is asked as "apartment building outdoor".
    """
    folder = find(root, "val_256", "val_large", "val")
    names, listing = (
        [line.rsplit(" ", 1) for line in list_lines(find(root, name))]
        for name in ("categories_places365.txt", "places365_val.txt")
    )
    labels = tuple(re.sub(r"[/_]", " ", name[3:]) for name, _ in names)
    return LabelledImages(labels, tuple((folder / name, int(index)) for name, index in listing))


CLASSIFICATION: dict[str, Callable[[Path], LabelledImages]] = {
    "imagenet": read_imagenet,
    "imagenet-v2": read_imagenet_v2,
    "places365": read_places365,
}
"""Set -> what reads it from its folder."""


def measure_accuracy(
    measured: Measuring, model: SamClip, data: LabelledImages, *, name: str
) -> None:
    """Ranks all labels of every image, as `SamClip.classify` does.

    Of labels that read alike, as some of ImageNet's do, only the first can be right.
    """
    labels = measured.track(data.labels, "labels")
    classes, ranks = np.concatenate([model.embed_labels([each]) for each in labels]), []
    alike: dict[str, list[int]] = {}
    for index, label in enumerate(data.labels):
        alike.setdefault(label, []).append(index)
    for path, truth in measured.track(data.images, "images"):
        scores = classes @ model.embed_image(read_pixels(path))
        later = [index for index in alike[data.labels[truth]] if index > truth]
        ranks.append(rank_of_truth(scores, right=[truth], passed_over=later))
    task = model.manifest.tasks.classification
    figures = {"labels": len(data.labels), "resolution_px": task.resolution}
    measured.settings |= {"templates": len(model.manifest.text.templates), "crop": task.crop}
    shares = top_k(np.array(ranks), Bootstrap(), owners=np.arange(len(ranks)))
    measured.add(name, n=len(ranks), **figures, **shares)


def _labelled(folders: Iterable[tuple[Path, int]]) -> tuple[tuple[Path, int], ...]:
    return tuple((image, index) for each, index in folders for image in list_images(each))


def _own_names(root: Path) -> dict[str, str]:
    """Name by wnid, in order, as in the set's own file; empty without one."""
    path = root / _CLASS_NAMES
    lines = list_lines(path) if path.is_file() else ()
    return {wnid: name.strip() for wnid, _, name in sorted(each.partition(" ") for each in lines)}


def _imagenet_names() -> tuple[str, ...]:
    from open_clip import IMAGENET_CLASSNAMES  # which takes long to import

    return tuple(IMAGENET_CLASSNAMES)


@dataclass(frozen=True)
class CaptionedImages:
    """N images, each with one to five captions."""

    images: tuple[tuple[Path, tuple[str, ...]], ...]


def read_flickr30k(root: Path) -> CaptionedImages:
    """Reads the test split of Karpathy's `dataset_flickr30k.json`: 1,000 images."""
    path = find(root, "dataset_flickr30k.json")
    folder = find(root, "flickr30k-images", "flickr30k_images", "images")
    return _read_karpathy(path, index=lambda _: folder)


def read_coco_captions(root: Path) -> CaptionedImages:
    """Reads the test split of Karpathy's `dataset_coco.json`: 5,000 images of val2014."""
    path = find(root, "dataset_coco.json", "annotations/dataset_coco.json")
    return _read_karpathy(path, index=lambda each: find(root, each, f"images/{each}"))


RETRIEVAL: dict[str, Callable[[Path], CaptionedImages]] = {
    "flickr30k": read_flickr30k,
    "coco-captions": read_coco_captions,
}
"""Set -> what reads it from its folder."""


def measure_retrieval(
    measured: Measuring, model: SamClip, data: CaptionedImages, *, name: str
) -> None:
    """Ranks all captions for each image, and all images for each caption, by cosine.

    Images are seen as `classify` sees them. Captions are embedded as they are, without templates;
    `cut` of them are longer than the context. A tie counts against the model.
    """
    shown = measured.track(data.images, "images")
    images = np.stack([model.embed_image(read_pixels(path)) for path, _ in shown])
    texts = [text for _, captions in data.images for text in captions]
    own = np.arange(len(images))
    owners = np.repeat(own, [len(each) for _, each in data.images])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TextTruncatedWarning)
        embedded = [model.embed_text([text]) for text in measured.track(texts, "captions")]
    cut = sum(issubclass(each.category, TextTruncatedWarning) for each in caught)
    captions, task = np.concatenate(embedded), model.manifest.tasks.classification
    measured.settings |= {"crop": task.crop}
    names, bootstrap = {"r1": 1, "r5": 5, "r10": 10}, Bootstrap()
    for way, queries, answers, asked, given in (
        ("image to text", images, captions, own, owners),
        ("text to image", captions, images, owners, own),
    ):
        ranks = ranks_of_own(queries, answers, asked=asked, given=given)
        figures = top_k(ranks, bootstrap, names=names, owners=asked)
        more = {"resolution_px": task.resolution, "cut": cut}
        measured.add(name, way, n=len(ranks), **figures, **more)


def _read_karpathy(path: Path, *, index: Callable[[str], Path]) -> CaptionedImages:
    row = files.shape(
        filename=str, split=str, sentences=list[files.shape(raw=str)], filepath=(str, "")
    )
    images = []
    for entry in files.read_annotations(path, files.shape(images=list[row])).images:
        if entry.split == "test":
            texts = tuple(each.raw for each in entry.sentences if each.raw.strip())[:_CAPTIONS]
            images.append((index(entry.filepath) / entry.filename, texts))
    return CaptionedImages(tuple(images))
