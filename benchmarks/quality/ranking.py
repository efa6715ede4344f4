"""Top-1 and top-5: how often the right noun is among the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from benchmarks.quality.drawings import Material, Picture
from benchmarks.record import UNSEEN, TopK

Rank = Callable[[np.ndarray], np.ndarray]
"""Pictures, uint8 RGB [B,S,S,3], to a score for each noun, float [B,K]; only the order counts."""

_BATCH = 32  # pictures


def measure_classification(
    rank: Rank,
    material: Material,
    *,
    who: str,
    track: Callable[[Iterable[Picture], int], Iterable[Picture]],
) -> Iterator[TopK]:
    """Ranks the nouns of clean and of composed pictures.

    Args:
        rank: the classifier over `material.nouns`.
        material: the split.
        who: "model", "clip_teacher" or "floor".
        track: shows progress over an iterable of known length.

    Yields:
        A row for clean and one for composed pictures. Of nouns never taught there are two each:
        told apart among themselves, and among the taught ones too.
    """
    clean = material.clean()
    for picture, pictures, count in (
        ("clean", clean, len(clean)),
        ("composed", material.composed(), material.settings.pictures),
    ):
        scores, truth = [], []
        for batch in _batches(track(pictures, count)):
            found = rank(np.stack([each.image for each in batch]))
            for each, row in zip(batch, found, strict=True):
                # Given to every classifier alike, so that they are compared on the same answers.
                scores.append(np.array(row, np.float32))
                scores[-1][each.also] = -np.inf
                truth.append(each.label)
        every = np.arange(len(material.nouns))
        own = np.arange(material.taught, len(material.nouns))
        for candidates in (own, every) if material.split == UNSEEN else (every,):
            ranks = ranks_of_truth(
                np.stack(scores)[:, candidates], truth=np.searchsorted(candidates, truth)
            )
            yield TopK(
                who=who,
                split=material.split,
                picture=picture,
                labels=len(candidates),
                pictures=len(ranks),
                top1=float(np.mean(ranks < 1)),
                top5=float(np.mean(ranks < 5)),
            )


def one_by_one(score: Callable[[np.ndarray], np.ndarray]) -> Rank:
    """Ranks with what sees one picture [S,S,3] at a time, and gives its scores, float [K]."""
    return lambda images: np.stack([score(image) for image in images])


def ranks_of_truth(scores: np.ndarray, *, truth: np.ndarray) -> np.ndarray:
    """How many labels are placed before the right one.

    Args:
        scores: float [N,K].
        truth: int [N].

    Returns:
        int [N]. A tie counts against the classifier: one that always says the same has no merit.
    """
    right = np.take_along_axis(scores, np.asarray(truth)[:, None], axis=1)
    ranks: np.ndarray = (scores >= right).sum(axis=1) - 1
    return ranks


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    source = iter(pictures)
    while batch := list(islice(source, _BATCH)):
        yield batch
