"""Retrieval between pictures and captions, both ways: Flickr30k and COCO, recall at 1, 5, 10."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.progress import track
from benchmarks.public import files
from benchmarks.public.record import RecallAt, Retrieval
from benchmarks.quality.ranking import share_within
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


def read_flickr30k(root: Path) -> CaptionedPictures:
    """Reads the test split of Karpathy's `dataset_flickr30k.json`: 1,000 pictures."""
    path = files.find(root, "dataset_flickr30k.json")
    folder = files.find(root, "flickr30k-images", "flickr30k_images", "images")
    return _read_karpathy(path, place=lambda _: folder)


def read_coco_captions(root: Path) -> CaptionedPictures:
    """Reads COCO's captions: the first of these files that is there.

    `dataset_coco.json`, Karpathy's, of which the test split (5,000 pictures of val2014) is what
    published figures are of; else `annotations/captions_val2017.json`, or that of 2014.
    """
    names = ["dataset_coco", "captions_val2017", "captions_val2014"]
    path = files.find(root, *(f"{at}{name}.json" for name in names for at in ("annotations/", "")))
    if path.stem == "dataset_coco":
        return _read_karpathy(
            path, place=lambda each: files.find(root, each.filepath, f"images/{each.filepath}")
        )
    rows = list[files.shape(image_id=int, id=int, caption=str)]
    content = files.read_annotations(path, files.shape(images=files.IMAGES, annotations=rows))
    year = path.stem.rpartition("_")[2]
    folder = files.find(root, year, f"images/{year}")
    captions: dict[int, list[str]] = {}
    for each in sorted(content.annotations, key=lambda each: each.id):
        captions.setdefault(each.image_id, []).append(each.caption)
    names = {each.id: each.file_name for each in content.images}
    known = sorted(set(names) & set(captions))
    return _captioned(((folder / names[each], captions[each]) for each in known), source=path)


RETRIEVAL: dict[str, Callable[[Path], CaptionedPictures]] = {
    "flickr30k": read_flickr30k,
    "coco-captions": read_coco_captions,
}
"""Set -> what reads it from its folder."""


def measure_retrieval(model: SamClip, data: CaptionedPictures) -> Retrieval:
    """Ranks all captions for each picture, and all pictures for each caption, by cosine.

    Pictures are seen as `classify` sees them. Captions are embedded as they are, without templates.
    A tie counts against the model.
    """
    shown = track(data.pictures, "pictures")
    pictures = np.stack([model.embed_image(files.read_pixels(path)) for path, _ in shown])
    texts = [text for _, captions in data.pictures for text in captions]
    own = np.arange(len(pictures))
    owners = np.repeat(own, [len(each) for _, each in data.pictures])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TextTruncatedWarning)
        captions = np.concatenate([model.embed_text([text]) for text in track(texts, "captions")])
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
        image_to_text=_recall(ranks_of_own(pictures, captions, asked=own, given=owners)),
        text_to_image=_recall(ranks_of_own(captions, pictures, asked=owners, given=own)),
    )


def ranks_of_own(queries: Array, answers: Array, *, asked: Ranks, given: Ranks) -> Ranks:
    """How many foreign answers stand before the best own one of each query: int64 [N].

    Of queries [N,E] and answers [M,E], int64 `asked` [N] and `given` [M] name the pictures that
    they are of, or about. Every query has an own answer.
    """
    found = []
    for start in range(0, len(queries), _ROWS):
        rows = slice(start, start + _ROWS)
        scores, own = queries[rows] @ answers.T, asked[rows, None] == given
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
        found.append(((scores >= best) & ~own).sum(axis=1))
    return np.concatenate(found)


def _recall(ranks: Ranks) -> RecallAt:
    r1, r5, r10 = (share_within(ranks, first) for first in (1, 5, 10))
    return RecallAt(r1=r1, r5=r5, r10=r10)


def _read_karpathy(path: Path, *, place: Callable[[Any], Path]) -> CaptionedPictures:
    sentences, text = list[files.shape(raw=str)], (str, "")
    row = files.shape(filename=str, split=str, sentences=sentences, filepath=text)
    rows = (
        (place(entry) / entry.filename, [each.raw for each in entry.sentences])
        for entry in files.read_annotations(path, files.shape(images=list[row])).images
        if entry.split == "test"
    )
    return _captioned(rows, source=path)


def _captioned(rows: Iterable[tuple[Path, list[str]]], *, source: Path) -> CaptionedPictures:
    kept = []
    for picture, captions in rows:
        texts = tuple(text for text in captions if text.strip())[:_CAPTIONS]
        if not texts:
            raise files.DatasetError(f"{source} has no caption for {picture.name}")
        kept.append((picture, texts))
    return CaptionedPictures(tuple(kept))
