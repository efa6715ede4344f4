"""Drawings and backgrounds that no training saw: quality is measured on them.

Picture i of a split depends on the seed and i alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.quality.record import HELDOUT, OPENMOJI, UNSEEN, Settings
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.scenes import Scene, clean_picture, compose_scene
from training.composed.vocabulary import tiny_vocabulary, unseen_nouns

_SINGLES, _SCENES = 0, 1  # random streams
_SAME = 0.5  # mean difference in grey levels below which two thumbnails are one picture


@dataclass(frozen=True)
class Picture:
    """A picture of one thing, uint8 RGB [S,S,3].

    `label` is the index of its noun. `also` are nouns, int64 [U], that the photo behind may show:
    as answers they are neither right nor wrong.
    """

    image: np.ndarray
    label: int
    also: np.ndarray


@dataclass(frozen=True)
class Drawings:
    """One split of the evaluation.

    Its nouns are those that were taught, `taught` in number; for `UNSEEN`, those that were not
    follow them.
    """

    split: str
    corpus: Corpus
    taught: int
    settings: Settings

    @property
    def nouns(self) -> tuple[str, ...]:
        """The K names that labels index."""
        return self.corpus.nouns

    def clean(self) -> list[Picture]:
        """Every cut-out once, upright over plain grey."""
        size_px, nothing = self.settings.size_px, np.empty(0, np.int64)
        return [
            Picture(clean_picture(self.corpus, index, size_px=size_px), int(label), nothing)
            for index, label in enumerate(self.corpus.labels)
        ]

    def composed(self) -> Iterator[Picture]:
        """Pictures of one object each, turned, stretched and recoloured, over any background."""
        shape = {"size_px": self.settings.size_px, "count": (1, 1), "scale": (0.45, 1.0)}
        for index in range(self.settings.pictures):
            scene = compose_scene(self.corpus, self._rng(_SINGLES, index), **shape)
            label = int(scene.labels[0])
            yield Picture(scene.image, label, also=scene.unlabelled[scene.unlabelled != label])

    def scenes(self) -> Iterator[tuple[Scene, np.random.Generator]]:
        """Scenes of one to five objects, each with the generator of what is asked about it."""
        for index in range(self.settings.scenes):
            rng = self._rng(_SCENES, index)
            yield compose_scene(self.corpus, rng, size_px=self.settings.size_px), rng

    def _rng(self, stream: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream, index])


def load_drawings(
    settings: Settings, *, openmoji: Path | None
) -> tuple[tuple[Drawings, ...], Drawings]:
    """Loads every split, and the drawings that training used.

    Nothing is measured on these, nor on copies of them: the floor looks them up. `openmoji` is a
    zip of cut-outs in a style that is never trained on, its .csv beside it.
    """
    taught = [noun.name for noun in tiny_vocabulary(settings.nouns)]
    train = load_corpus(CORPUS, split="train", nouns=taught)
    splits = {HELDOUT: load_corpus(CORPUS, split=HELDOUT, nouns=taught)}
    if openmoji is not None:
        splits[OPENMOJI] = load_corpus(
            CORPUS, split="heldout_style", nouns=taught, objects=openmoji
        )
    # Taught nouns are among its names, since a photo may show one and they compete as answers.
    every = [*taught, *(noun.name for noun in unseen_nouns())]
    splits[UNSEEN] = load_corpus(CORPUS, split=UNSEEN, nouns=every)
    found = tuple(
        Drawings(split, without_copies(each, of=train), len(taught), settings)
        for split, each in splits.items()
    )
    return found, Drawings("train", train, len(taught), settings)


def subset(corpus: Corpus, chosen: np.ndarray) -> Corpus:
    """The cut-outs of a corpus that are chosen, bool [M]."""
    cutouts = tuple(corpus.cutouts[index] for index in np.flatnonzero(chosen))
    return replace(corpus, cutouts=cutouts, labels=corpus.labels[chosen])


def without_copies(corpus: Corpus, *, of: Corpus) -> Corpus:
    """Leaves out cut-outs that are, to the eye, the same picture as one of another split.

    Some sets hold one drawing under two file names, and a split by file may part the two.
    """
    pictures, others = _thumbnails(corpus), _thumbnails(of)
    nearest = [np.abs(others - picture).mean(axis=1).min() for picture in pictures]
    return subset(corpus, np.array(nearest) >= _SAME)


def _thumbnails(corpus: Corpus) -> np.ndarray:
    """Every cut-out as a small clean picture, float32 [M,16*16*3]."""
    pictures = [clean_picture(corpus, index, size_px=16) for index in range(len(corpus.labels))]
    return np.stack(pictures).reshape(len(pictures), -1).astype(np.float32)
