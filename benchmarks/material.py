"""The pictures that everything is measured on: drawings and backgrounds that no training saw.

Picture i of a split depends on the seed and i alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.record import HELDOUT, OPENMOJI, UNSEEN, Settings
from training.scenes import Corpus, Scene, clean_picture, compose_scene, load_corpus
from training.vocabulary import CORPUS, tiny_vocabulary, unseen_nouns

_SINGLES, _SCENES = 0, 1  # random streams


@dataclass(frozen=True)
class Picture:
    """A picture of one thing.

    Attributes:
        image: uint8 RGB [S,S,3].
        label: The index of the noun that it shows.
        also: int64 [U], nouns that the photo behind may show: as answers neither right nor wrong.
    """

    image: np.ndarray
    label: int
    also: np.ndarray


@dataclass(frozen=True)
class Material:
    """One split of the evaluation.

    Attributes:
        split: `HELDOUT`, `OPENMOJI` or `UNSEEN`.
        corpus: Its cut-outs. The nouns are those that were taught; for `UNSEEN`, those that were
            not follow them.
        taught: How many of the nouns were taught.
        settings: How many pictures, how large, from which seed.
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
        size_px = self.settings.size_px
        return [
            Picture(
                clean_picture(self.corpus, index, size_px=size_px),
                label=int(label),
                also=np.empty(0, np.int64),
            )
            for index, label in enumerate(self.corpus.labels)
        ]

    def composed(self) -> Iterator[Picture]:
        """Pictures of one object each, turned, stretched and recoloured, over any background."""
        for index in range(self.settings.pictures):
            scene = compose_scene(
                self.corpus,
                self._rng(_SINGLES, index),
                size_px=self.settings.size_px,
                count=(1, 1),
                scale=(0.45, 1.0),
            )
            label = int(scene.labels[0])
            also = scene.unlabelled[scene.unlabelled != label]
            yield Picture(scene.image, label=label, also=also)

    def scenes(self) -> Iterator[tuple[Scene, np.random.Generator]]:
        """Scenes of one to five objects, each with the generator of what is asked about it."""
        for index in range(self.settings.scenes):
            rng = self._rng(_SCENES, index)
            yield compose_scene(self.corpus, rng, size_px=self.settings.size_px), rng

    def _rng(self, stream: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream, index])


def load_materials(
    settings: Settings, *, openmoji: Path | None, corpus: Path = CORPUS
) -> tuple[Material, ...]:
    """Loads every split.

    Args:
        settings: of the run.
        openmoji: zip of cut-outs in a style that is never trained on, its .csv beside it.
        corpus: folder of the corpus.

    Raises:
        ValueError: the corpus has fewer nouns than the settings say.
        OSError: a file is missing.
    """
    taught = [noun.name for noun in tiny_vocabulary(settings.nouns, corpus=corpus)]
    unseen = [noun.name for noun in unseen_nouns(corpus=corpus)]
    count = len(taught)
    heldout = load_corpus(corpus, split=HELDOUT, nouns=taught)
    materials = [Material(HELDOUT, heldout, count, settings)]
    if openmoji is not None:
        other = load_corpus(corpus, split="heldout_style", nouns=taught, objects=openmoji)
        materials.append(Material(OPENMOJI, other, count, settings))
    # Taught nouns are among its names, since a photo may show one and they compete as answers.
    zero_shot = load_corpus(corpus, split=UNSEEN, nouns=[*taught, *unseen])
    return (*materials, Material(UNSEEN, zero_shot, count, settings))


def training_cutouts(settings: Settings, *, corpus: Path = CORPUS) -> list[Picture]:
    """Clean pictures of the cut-outs that training used: the floor looks them up.

    Nothing is ever measured on them.
    """
    taught = [noun.name for noun in tiny_vocabulary(settings.nouns, corpus=corpus)]
    train = load_corpus(corpus, split="train", nouns=taught)
    return Material("train", train, len(taught), settings).clean()
