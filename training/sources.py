"""Batches of pictures and of scenes by their settings: composed ones, photographs, and both."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch.utils.data import Dataset

from training.batches import Batch, Interleaved, Joined
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.datasets import PictureBatches, SceneBatches
from training.composed.vocabulary import tiny_vocabulary
from training.data_config import (
    MixedPictures,
    MixedScenes,
    PhotographPictures,
    PhotographScenes,
    Pictures,
    Scenes,
)
from training.real.coco_layout import PhotographSplit
from training.real.joint_batches import JointBatches
from training.real.labelled_cells import LabelledCells
from training.real.photograph_batches import PhotographPictureBatches, PhotographSceneBatches
from training.real.photographs import Photographs
from training.real.records import Split

VALIDATION_SEED = 1_000_000  # far from any that composes for training


class Composed:
    """Composed data: pictures and scenes of the corpus's drawings of `count` nouns."""

    def __init__(self, count: int) -> None:
        self.nouns = tiny_vocabulary(count)

    @cached_property
    def corpus(self) -> Corpus:
        """The drawings of the training split."""
        return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in self.nouns])

    def pictures(self, settings: Pictures, *, seed: int) -> PictureBatches:
        """D_CLIP."""
        return PictureBatches(self.corpus, settings, num_nouns=len(self.nouns), seed=seed)

    def scenes(self, settings: Scenes, *, seed: int) -> SceneBatches:
        """D_SAM."""
        return SceneBatches(self.corpus, settings, seed=seed)


def batches_of(
    settings: Pictures
    | PhotographPictures
    | MixedPictures
    | Scenes
    | PhotographScenes
    | MixedScenes,
    *,
    composed: Composed,
    split: Split,
    seed: int,
) -> Dataset[Batch]:
    """D_CLIP of settings of pictures, D_SAM of settings of scenes.

    Args:
        settings: which of them, and from where.
        composed: where composed ones come from.
        split: of "validation", composed ones have another seed, and photographs are whole ones of
            the split "calibration": those of "val" are for the benchmarks.
        seed: of those to train on.

    Raises:
        TrainingError: of `Photographs` and its batches.
    """
    training = split == "train"
    seed = seed if training else VALIDATION_SEED
    side: PhotographSplit = "train" if training else "calibration"
    match settings:
        case Pictures():
            return composed.pictures(settings, seed=seed)
        case Scenes():
            return composed.scenes(settings, seed=seed)
        case PhotographPictures():
            photographs = Photographs(settings, split=side)
            return PhotographPictureBatches(photographs, settings, seed=seed, augment=training)
        case PhotographScenes():
            photographs = Photographs(settings, split=side)
            return PhotographSceneBatches(photographs, settings, seed=seed, augment=training)
        case MixedPictures() | MixedScenes():
            parts = [
                batches_of(part.of, composed=composed, split=split, seed=seed)
                for part in settings.parts
            ]
            return Interleaved(parts, shares=[part.share for part in settings.parts], seed=seed)


def photograph_terms(dataset: Dataset[Any]) -> dict[str, str]:
    """The terms of every set of photographs that batches are of, by its name."""
    match dataset:
        case Joined():
            children = list(dataset.datasets.values())
        case Interleaved():
            children = dataset.datasets
        case (
            PhotographPictureBatches() | PhotographSceneBatches() | LabelledCells() | JointBatches()
        ):
            return {each.name: each.terms for each in dataset.photographs.sets}
        case _:
            return {}
    return {name: terms for each in children for name, terms in photograph_terms(each).items()}
