"""Pictures of shards with texts that they show and texts that they do not, by their captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from samclip_sdk.text.tokenizer import clean_text
from training.errors import TrainingError
from training.real.records import BrokenRecord
from training.real.shards import ShardPictures

ABSENT = 5
"""Texts that a picture does not show, and is asked for."""

_ABSENT_STREAM = 14  # keeps these draws apart from others of the same seed
_LOOKED_AT = 100  # pictures for each one that is wanted, before it is said that there are too few


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture, uint8 RGB [H,W,3], and texts to ask it for."""

    image: np.ndarray
    present: tuple[str, ...]
    absent: tuple[str, ...]


def draw_captioned(
    pictures: ShardPictures, *, count: int, labels: Sequence[str], seed: int
) -> Iterator[CaptionedPicture]:
    """Draws pictures of all sources by their weights, and asks each for 5 texts it does not show.

    Absent texts are drawn at random. The one most like a present one would be the hardest, but a
    caption is silent about much of what its picture shows, and most often about just that.

    Args:
        pictures: of shards whose pictures have captions.
        count: how many.
        labels: a picture shows those that its caption names, and is left out if it names none.
            Without any, a picture shows its caption, and not the captions of the others.
        seed: of the draws.

    Raises:
        TrainingError: there are not so many, or too few texts to draw absent ones from.
    """
    places = range(min(len(pictures), _LOOKED_AT * count))
    drawn = list(islice(_shown_texts(pictures, places, labels=labels, seed=seed), count))
    if len(drawn) < count:
        wanted = "a caption that names one of the labels" if labels else "a caption"
        raise TrainingError(
            f"of {len(places)} pictures, {len(drawn)} can be read and have {wanted}; "
            f"pictures.count asks for {count}: ask for fewer, or give more"
        )
    texts = sorted(set(labels) or {text for _, present in drawn for text in present})
    if len(texts) <= ABSENT:
        raise TrainingError(f"there are {len(texts)} texts to ask for, which is too few: give more")
    return _with_absent(pictures, drawn, texts=texts, seed=seed)


def _with_absent(
    pictures: ShardPictures,
    drawn: Sequence[tuple[int, tuple[str, ...]]],
    *,
    texts: Sequence[str],
    seed: int,
) -> Iterator[CaptionedPicture]:
    """Reads what was drawn, one picture at a time."""
    for place, (sample, present) in enumerate(drawn):
        rng = np.random.default_rng([seed, _ABSENT_STREAM, place])
        others = [text for text in texts if text not in present]
        absent = [others[index] for index in rng.permutation(len(others))[:ABSENT]]
        yield CaptionedPicture(pictures.picture(sample), present, tuple(absent))


def read_labels(path: Path) -> tuple[str, ...]:
    """Reads a text file of labels, a line each; empty lines and repetitions are left out.

    Raises:
        TrainingError: it cannot be read, or holds no label.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TrainingError(f"the labels {path} cannot be read: {error}") from error
    labels = tuple(dict.fromkeys(filter(None, map(clean_text, lines))))
    if not labels:
        raise TrainingError(f"{path} holds no label: write one a line")
    return labels


def named_labels(caption: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that a caption names as whole words, in the singular or a plural in -s or -es."""
    return tuple(
        label
        for label in labels
        if re.search(rf"(?<!\w){re.escape(label)}(?:e?s)?(?!\w)", caption, re.IGNORECASE)
    )


def _shown_texts(
    pictures: ShardPictures, places: range, *, labels: Sequence[str], seed: int
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Samples that can be read and show some text, and which texts; each sample once at most."""
    mixture = pictures.mixture(seed=seed)
    seen: set[int] = set()
    for place in places:
        _, sample = mixture.sample(place)
        if sample in seen:  # a source that is small for its weight comes round again
            continue
        seen.add(sample)
        try:
            caption = clean_text(pictures.caption(sample))
            present = named_labels(caption, labels) if labels else (caption,)
            if any(present):
                pictures.picture(sample)
                yield sample, present
        except BrokenRecord:
            continue
