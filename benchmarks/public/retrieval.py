"""Retrieval between pictures and captions, both ways: Flickr30k and COCO, recall at 1, 5, 10."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from benchmarks.public.files import (
    DatasetError,
    first_file,
    first_folder,
    read_json,
    read_pixels,
    spread,
    value_of,
)
from benchmarks.public.record import RecallAt, Retrieval
from samclip_sdk.errors import TextTruncatedWarning

if TYPE_CHECKING:
    from samclip_sdk import SamClip

Array = NDArray[np.float32]
Ranks = NDArray[np.int64]

_CAPTIONS = 5  # a few COCO pictures have six or seven; published figures take five of each
_ROWS = 256  # of the score matrix in memory at a time: 25,000 captions by 5,000 pictures is 500 MB


@dataclass(frozen=True)
class CaptionedPictures:
    """N pictures, each with one to five captions."""

    pictures: tuple[tuple[Path, tuple[str, ...]], ...]


def read_flickr30k(root: Path, *, limit: int | None) -> CaptionedPictures:
    """Reads the test split of Karpathy's `dataset_flickr30k.json`: 1,000 pictures.

    Raises:
        DatasetError: a file or folder is missing, or the file is another one.
    """
    path = first_file(root, ["dataset_flickr30k.json"])
    folder = first_folder(root, ["flickr30k-images", "flickr30k_images", "images"])
    return _read_karpathy(path, picture=lambda entry: folder / _name(entry, path), limit=limit)


def read_coco_captions(root: Path, *, limit: int | None) -> CaptionedPictures:
    """Reads COCO's captions: the first of these files that is there.

    `dataset_coco.json`, Karpathy's, of which the test split (5,000 pictures of val2014) is what
    published figures are of; else `annotations/captions_val2017.json`, or that of 2014.

    Raises:
        DatasetError: a file or folder is missing, or the file is another one.
    """
    years = ("2017", "2014")
    names = [
        f"{folder}captions_val{year}.json" for year in years for folder in ("annotations/", "")
    ]
    path = first_file(root, ["dataset_coco.json", "annotations/dataset_coco.json", *names])
    if path.name != "dataset_coco.json":
        return _read_coco(path, root=root, limit=limit)

    def picture(entry: object) -> Path:
        place = value_of(entry, key="filepath", kind=str, source=path)
        return first_folder(root, [place, f"images/{place}"]) / _name(entry, path)

    return _read_karpathy(path, picture=picture, limit=limit)


RETRIEVAL: dict[str, Callable[..., CaptionedPictures]] = {
    "flickr30k": read_flickr30k,
    "coco-captions": read_coco_captions,
}
"""Set -> what reads it from (root, limit=)."""


def measure_retrieval(model: SamClip, data: CaptionedPictures, *, progress: Progress) -> Retrieval:
    """Ranks all captions for each picture, and all pictures for each caption, by cosine.

    Captions are embedded as they are, without templates. A tie counts against the model.

    Args:
        model: what is measured; pictures are seen as `classify` sees them.
        data: the set.
        progress: shows how far it is.

    Raises:
        DatasetError: a picture cannot be read.
    """
    pictures = np.stack(
        [
            model.embed_image(read_pixels(path))
            for path, _ in progress.track(data.pictures, description="pictures")
        ]
    )
    texts = [text for _, captions in data.pictures for text in captions]
    owners = np.repeat(np.arange(len(pictures)), [len(each) for _, each in data.pictures])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TextTruncatedWarning)
        captions = np.concatenate(
            [model.embed_text([text]) for text in progress.track(texts, description="captions")]
        )
    others = [each for each in caught if not issubclass(each.category, TextTruncatedWarning)]
    for each in others:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    task = model.manifest.tasks.classification
    return Retrieval(
        pictures=len(pictures),
        captions=len(texts),
        cut=len(caught) - len(others),
        resolution_px=task.resolution,
        crop=task.crop,
        image_to_text=_recall(picture_ranks(pictures, captions=captions, owners=owners)),
        text_to_image=_recall(caption_ranks(pictures, captions=captions, owners=owners)),
    )


def picture_ranks(pictures: Array, *, captions: Array, owners: Ranks) -> Ranks:
    """How many foreign captions stand before the best own one of each picture.

    Args:
        pictures: [N,E].
        captions: [M,E].
        owners: [M], the picture of each caption; every picture has one.

    Returns:
        int64 [N].
    """
    ranks = np.empty(len(pictures), np.int64)
    for start in range(0, len(pictures), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(pictures)))
        scores = pictures[rows] @ captions.T
        own = owners[None] == rows[:, None]
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = ((scores >= best) & ~own).sum(axis=1)
    return ranks


def caption_ranks(pictures: Array, *, captions: Array, owners: Ranks) -> Ranks:
    """How many other pictures stand before the own one of each caption: int64 [M]."""
    ranks = np.empty(len(captions), np.int64)
    for start in range(0, len(captions), _ROWS):
        part = slice(start, start + _ROWS)
        scores = captions[part] @ pictures.T
        own = np.take_along_axis(scores, owners[part, None], axis=1)
        ranks[part] = (scores >= own).sum(axis=1) - 1
    return ranks


def _recall(ranks: Ranks) -> RecallAt:
    r1, r5, r10 = (float(np.mean(ranks < k)) for k in (1, 5, 10))
    return RecallAt(r1=r1, r5=r5, r10=r10)


def _read_karpathy(
    path: Path, *, picture: Callable[[object], Path], limit: int | None
) -> CaptionedPictures:
    found = []
    for entry in read_json(path, keys=["images"])["images"]:
        if value_of(entry, key="split", kind=str, source=path) == "test":
            sentences = value_of(entry, key="sentences", kind=list, source=path)
            captions = [value_of(each, key="raw", kind=str, source=path) for each in sentences]
            found.append((entry, captions))
    chosen = spread(found, limit=limit, source=path)
    return _captioned([(picture(entry), captions) for entry, captions in chosen], source=path)


def _read_coco(path: Path, *, root: Path, limit: int | None) -> CaptionedPictures:
    content = read_json(path, keys=["images", "annotations"])
    place = path.stem.rpartition("_")[2]
    folder = first_folder(root, [place, f"images/{place}"])
    captions: dict[int, list[tuple[int, str]]] = {}
    for entry in content["annotations"]:
        image, number = (value_of(entry, key=k, kind=int, source=path) for k in ("image_id", "id"))
        text = value_of(entry, key="caption", kind=str, source=path)
        captions.setdefault(image, []).append((number, text))
    names = {
        value_of(entry, key="id", kind=int, source=path): value_of(
            entry, key="file_name", kind=str, source=path
        )
        for entry in content["images"]
    }
    chosen = spread(sorted(set(names) & set(captions)), limit=limit, source=path)
    rows = [(folder / names[each], [text for _, text in sorted(captions[each])]) for each in chosen]
    return _captioned(rows, source=path)


def _captioned(rows: list[tuple[Path, list[str]]], *, source: Path) -> CaptionedPictures:
    kept = []
    for picture, captions in rows:
        texts = tuple(text for text in captions if text.strip())[:_CAPTIONS]
        if not texts:
            raise DatasetError(f"{source} has no caption for {picture.name}")
        kept.append((picture, texts))
    return CaptionedPictures(tuple(kept))


def _name(entry: Any, source: Path) -> str:
    return value_of(entry, key="filename", kind=str, source=source)
