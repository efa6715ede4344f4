"""Classification as ranks: how many labels are placed before the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.progress import track
from benchmarks.quality.drawings import Drawings, Picture
from benchmarks.quality.record import UNSEEN, TopK
from samclip_sdk.text.tokenizer import normalize

if TYPE_CHECKING:
    from samclip_sdk import SamClip

Rank = Callable[[np.ndarray], np.ndarray]
"""Pictures, uint8 RGB [B,S,S,3], to a score for each noun, float [B,K]; only the order counts."""

_BATCH = 32  # pictures


def measure_ranking(
    rank: Rank,
    drawings: Drawings,
    *,
    who: Literal["model", "clip_teacher", "floor"],
    name: str | None = None,
) -> Iterator[TopK]:
    """Ranks the nouns of clean and of composed pictures; `name` is for the progress bar.

    Yields:
        A row for clean and one for composed pictures. Of nouns never taught there are two each:
        told apart among themselves, and among the taught ones too.
    """
    clean = drawings.clean()
    kinds: tuple[tuple[Literal["clean", "composed"], Iterable[Picture], int], ...] = (
        ("clean", clean, len(clean)),
        ("composed", drawings.composed(), drawings.settings.pictures),
    )
    for picture, pictures, count in kinds:
        scores, truth = [], []
        shown = f"classify: {drawings.split}, {picture}, {name or who}"
        source = iter(track(pictures, shown, total=count))
        while batch := list(islice(source, _BATCH)):
            found = rank(np.stack([each.image for each in batch]))
            for each, row in zip(batch, found, strict=True):
                # Given to every classifier alike, so that they are compared on the same answers.
                scores.append(np.array(row, np.float32))
                scores[-1][each.also] = -np.inf
                truth.append(each.label)
        every = np.arange(len(drawings.nouns))
        own = every[drawings.taught :]
        for labels in (own, every) if drawings.split == UNSEEN else (every,):
            right = np.searchsorted(labels, truth)
            ranks = ranks_of_truth(np.stack(scores)[:, labels], truth=right)
            yield TopK(
                who=who,
                split=drawings.split,
                picture=picture,
                labels=len(labels),
                pictures=len(ranks),
                top1=share_within(ranks, 1),
                top5=share_within(ranks, 5),
            )


def embed_nouns(model: SamClip, nouns: Sequence[str]) -> np.ndarray:
    """Embeds K nouns as `SamClip.classify` does: float32 [K,E], unit length.

    One that is there twice, as in ImageNet, has two equal rows; `classify` would refuse it.
    """
    rows = []
    for noun in track(nouns, "nouns"):
        prompts = [each.replace("{}", noun) for each in model.manifest.text.templates]
        rows.append(normalize(model.embed_text(prompts).mean(axis=0)))
    return np.stack(rows)


def one_by_one(score: Callable[[np.ndarray], np.ndarray]) -> Rank:
    """Ranks with what sees one picture [S,S,3] at a time, and gives its scores, float [K]."""
    return lambda images: np.stack([score(image) for image in images])


def by_logits(model: SamClip, nouns: Sequence[str]) -> Rank:
    """Ranks nouns by a model's own classification."""
    labels = list(nouns)
    return one_by_one(lambda image: model.classify(image, labels).logits)


def ranks_of_truth(scores: np.ndarray, *, truth: np.ndarray) -> np.ndarray:
    """How many labels are placed before the right one: int [N], of scores [N,K], truth int [N].

    A tie counts against the classifier: one that always says the same has no merit.
    """
    right = np.take_along_axis(scores, np.asarray(truth)[:, None], axis=1)
    ranks: np.ndarray = (scores >= right).sum(axis=1) - 1
    return ranks


def share_within(ranks: np.ndarray, first: int) -> float:
    """The share of ranks [N] that are among so many first ones."""
    return float(np.mean(ranks < first))
