"""Drawings and backgrounds that no training saw: quality is measured on them.

Image i of a split depends on the seed and i alone. Cut-outs stand once upright over plain grey
(`clean`), turned, stretched and recoloured over any background (`composed`), and in scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.quality.dataset import Masked, Naming
from training.asked_images import ask_scene
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.label_questions import pose_question
from training.composed.scenes import Scene, clean_image, compose_scene
from training.composed.vocabulary import tiny_vocabulary, unseen_nouns

# New drawings of taught nouns, a style never trained on, nouns never taught.
HELDOUT, OPENMOJI, UNSEEN = "heldout_instance", "openmoji", "unseen_concept"

EmbedText = Callable[[list[str]], np.ndarray]
"""K texts to unit embeddings [K,E]."""

_SINGLES, _SCENES = 0, 1  # random streams
_SAME = 0.5  # mean difference in grey levels below which two thumbnails are one image


@dataclass(frozen=True)
class Drawings:
    """One split of so many composed single objects and scenes, each `size_px` wide and high.

    Its nouns are those that were taught, `taught` in number; for `UNSEEN`, those that were not
    follow them. `embed_text` tells which absent label is the nearest.
    """

    split: str
    corpus: Corpus
    taught: int
    images: int
    scenes: int
    size_px: int
    seed: int
    embed_text: EmbedText

    def namings(self) -> tuple[Naming, ...]:
        """Clean and composed ones; of nouns never taught, each among two lists.

        They are told apart among themselves, and among the taught ones too.
        """
        nouns, cleans = self.corpus.nouns, len(self.corpus.labels)
        # The noun of each image, and others that the photo behind it may show.
        labels = [(int(label), np.empty(0, np.int64)) for label in self.corpus.labels]
        for scene in map(self._single, range(self.images)):
            label = int(scene.labels[0])
            labels.append((label, scene.unlabelled[scene.unlabelled != label]))
        lists = {"": nouns}
        if self.split == UNSEEN:
            lists = {"": nouns[self.taught :], " among all": nouns}
        return tuple(
            Naming(
                f"{kind}{among}",
                self.split,
                names,
                right={index: frozenset([nouns[labels[index][0]]]) for index in indices},
                neither={index: frozenset(nouns[i] for i in labels[index][1]) for index in indices},
            )
            for kind, indices in (
                ("clean", range(cleans)),
                ("composed", range(cleans, cleans + self.images)),
            )
            for among, names in lists.items()
        )

    def read(self, image: int) -> np.ndarray:
        """The clean cut-outs come first, then the composed images."""
        cleans = len(self.corpus.labels)
        if image < cleans:
            return clean_image(self.corpus, image, size_px=self.size_px)
        return self._single(image - cleans).image

    def _single(self, index: int) -> Scene:
        shape = {"size_px": self.size_px, "count": (1, 1), "scale": (0.45, 1.0)}
        return compose_scene(self.corpus, self._rng(_SINGLES, index), **shape)

    def masked(self) -> range:
        """The scenes."""
        return range(self.scenes)

    def question(self, image: int) -> Masked:
        """A scene's own labels and absent ones, of which the first is a near one.

        A scene has one to five objects.
        """
        rng = self._rng(_SCENES, image)
        scene = compose_scene(self.corpus, rng, size_px=self.size_px)
        posed = pose_question(scene, text_embeddings=self._embeddings, rng=rng)
        asked = ask_scene(scene, posed, nouns=self.corpus.nouns)
        return Masked(scene.image, scene.masks, asked, asked.absent, (self.split,), self.split)

    @cached_property
    def _embeddings(self) -> np.ndarray:
        return self.embed_text(list(self.corpus.nouns))

    def _rng(self, stream: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, index])


def load_drawings(
    embed_text: EmbedText, *, nouns: int, openmoji: Path | None = None, **size: int
) -> tuple[tuple[Drawings, ...], Corpus]:
    """Loads every split, and the drawings that training used of so many nouns.

    Nothing is measured on these, nor on copies of them: the floor looks them up. `openmoji` is a
    zip of cut-outs in a style that is never trained on, its .csv beside it.
    """
    taught = [noun.name for noun in tiny_vocabulary(nouns)]
    corpus = load_corpus(CORPUS, split="train", nouns=taught)
    splits = {HELDOUT: load_corpus(CORPUS, split=HELDOUT, nouns=taught)}
    if openmoji is not None:
        style = load_corpus(CORPUS, split="heldout_style", nouns=taught, objects=openmoji)
        splits[OPENMOJI] = style
    # Taught nouns are among its names, since a photo may show one and they compete as answers.
    every = [*taught, *(noun.name for noun in unseen_nouns())]
    splits[UNSEEN] = load_corpus(CORPUS, split=UNSEEN, nouns=every)
    more = {"taught": len(taught), **size, "embed_text": embed_text}
    found = tuple(
        Drawings(split, without_copies(each, of=corpus), **more) for split, each in splits.items()
    )
    return found, corpus


def without_copies(corpus: Corpus, *, of: Corpus) -> Corpus:
    """Leaves out cut-outs that are, to the eye, the same image as one of another split.

    Some sets hold one drawing under two file names, and a split by file may part the two.
    """
    images, others = _thumbnails(corpus), _thumbnails(of)
    nearest = np.array([np.abs(others - image).mean(axis=1).min() for image in images])
    kept = np.flatnonzero(nearest >= _SAME)
    cutouts = tuple(corpus.cutouts[index] for index in kept)
    return replace(corpus, cutouts=cutouts, labels=corpus.labels[kept])


def _thumbnails(corpus: Corpus) -> np.ndarray:
    """Every cut-out as a small clean image, float32 [M,16*16*3]."""
    images = [clean_image(corpus, index, size_px=16) for index in range(len(corpus.labels))]
    return np.stack(images).reshape(len(images), -1).astype(np.float32)
