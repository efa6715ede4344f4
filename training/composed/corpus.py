"""The corpus: where its files are, what each drawing is taught as, and its cut-outs in memory.

Colour is premultiplied by alpha from here on. Interpolating straight alpha gives every object a
fringe of whatever colour its transparent pixels hold, and a model learns the fringe instead of
the object.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from samclip_sdk.image.loading import open_image
from training.errors import TrainingError

CORPUS = Path(__file__).parents[1] / "corpus"

# Same thing drawn, two names. Homonyms stay apart: a bat is an animal, a baseball bat is not.
MERGED = {
    "books": "book",
    "bowling ball": "bowling",
    "chipmunk": "squirrel",
    "drum kit": "drum",
    "pasta": "noodles",
    "pickup truck": "truck",
    "pumpkin": "jack-o-lantern",
    "robot face": "robot",
    "rubber duck": "duck",
    "tennis racket": "tennis ball",
}


@dataclass(frozen=True)
class Corpus:
    """Decoded cut-outs and backgrounds of one split.

    Attributes:
        cutouts: uint8 [h,w,4] each, RGBA premultiplied by alpha, longest side 96 px.
        labels: int64 [M], the index into `nouns` of each cut-out.
        nouns: The names that labels index.
        backgrounds: uint8 RGB [h,w,3] each.
        shown: For each background, int64 labels of the nouns that it shows of itself.
    """

    cutouts: tuple[np.ndarray, ...]
    labels: np.ndarray
    nouns: tuple[str, ...]
    backgrounds: tuple[np.ndarray, ...]
    shown: tuple[np.ndarray, ...]

    @cached_property
    def by_noun(self) -> tuple[np.ndarray, ...]:
        """For each noun that has any, the indices of its cut-outs."""
        groups = (np.flatnonzero(self.labels == k) for k in range(len(self.nouns)))
        return tuple(group for group in groups if len(group))


def canonical(concept: str) -> str:
    """The noun that a concept of the corpus is taught as (`MERGED`)."""
    return MERGED.get(concept, concept)


def load_corpus(
    folder: Path,
    *,
    split: str,
    nouns: Sequence[str] | None = None,
    objects: Path | None = None,
) -> Corpus:
    """Decode the cut-outs of a split and the backgrounds that go with it.

    Args:
        folder: The corpus: objects.zip, objects.csv, backgrounds.zip, backgrounds.csv.
        split: "train", "heldout_instance", "unseen_concept" or, in a zip of its own,
            "heldout_style". All but "train" get the held-out backgrounds.
        nouns: Keep only these, in this order, so that several splits share their label indices;
            None keeps all that the split has, sorted.
        objects: Another zip of cut-outs, with its .csv beside it, instead of objects.zip.

    Returns:
        The corpus: about 36 KB a cut-out.

    Raises:
        TrainingError: The split has no cut-out of the nouns.
    """
    # Training runs one process a core; OpenCV's own threads would only fight them.
    cv2.setNumThreads(0)
    objects = objects or folder / "objects.zip"
    rows = [row for row in read_rows(objects.with_suffix(".csv")) if row["split"] == split]
    present = {canonical(row["concept"]) for row in rows}
    nouns = tuple(sorted(present) if nouns is None else nouns)
    index = {noun: k for k, noun in enumerate(nouns)}
    rows = [row for row in rows if canonical(row["concept"]) in index]
    if not rows:
        raise TrainingError(
            f"{objects} has no cut-out in the split {split!r} of the nouns asked for"
        )
    side = "train" if split == "train" else "heldout"
    scenery = [row for row in read_rows(folder / "backgrounds.csv") if row["split"] == side]
    return Corpus(
        cutouts=tuple(map(_premultiply, _decode(objects, rows, mode="RGBA"))),
        labels=np.array([index[canonical(row["concept"])] for row in rows], np.int64),
        nouns=nouns,
        backgrounds=tuple(_decode(folder / "backgrounds.zip", scenery, mode="RGB")),
        shown=tuple(_indices(row["shows"].split("|"), index) for row in scenery),
    )


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table of the corpus, by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _indices(names: Sequence[str], index: Mapping[str, int]) -> np.ndarray:
    return np.array([index[name] for name in names if name in index], np.int64)


def _decode(archive: Path, rows: Sequence[dict[str, str]], *, mode: str) -> list[np.ndarray]:
    with zipfile.ZipFile(archive) as files:
        return [
            np.asarray(open_image(io.BytesIO(files.read(row["file"]))).convert(mode))
            for row in rows
        ]


def _premultiply(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    colour = (rgba[..., :3] * alpha + 127) // 255
    return np.concatenate([colour, alpha], axis=-1).astype(np.uint8)
