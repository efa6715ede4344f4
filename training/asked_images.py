"""Images with labels to ask them for: some that they show, with masks, and some that they do not.

Calibration and benchmarks ask alike, whether an image is composed or a photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from samclip_sdk import SamClip
from training.composed.corpus import Corpus
from training.composed.label_questions import Question, pose_question
from training.composed.scenes import Scene, compose_scene


@dataclass(frozen=True)
class AskedImage:
    """One image and what it is asked for.

    Attributes:
        image: uint8 RGB [H,W,3].
        present: P labels that it shows.
        masks: bool [P,H,W], where each of them is.
        absent: labels that it does not show.
        of: the set that it is of; calibration lets every set weigh alike.
    """

    image: np.ndarray
    present: tuple[str, ...]
    masks: np.ndarray
    absent: tuple[str, ...]
    of: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it is asked for, the present ones first."""
        return (*self.present, *self.absent)


def ask_scenes(model: SamClip, corpus: Corpus, *, scenes: int, seed: int) -> Iterator[AskedImage]:
    """Composes scenes of the model's segmentation resolution, as `pose_question` asks them."""
    size_px = model.manifest.model.segmentation_resolution
    text_embeddings = model.embed_text(list(corpus.nouns))
    for index in range(scenes):
        rng = np.random.default_rng([seed, 4, index])
        scene = compose_scene(corpus, rng, size_px=size_px)
        question = pose_question(scene, text_embeddings=text_embeddings, rng=rng)
        yield ask_scene(scene, question, nouns=corpus.nouns)


def ask_scene(scene: Scene, question: Question, *, nouns: Sequence[str]) -> AskedImage:
    """A question by names; the truth of a label is the union of its objects."""
    present, absent = (
        tuple(nouns[noun] for noun in each) for each in (question.present, question.absent)
    )
    truth = [scene.masks[scene.labels == noun].any(axis=0) for noun in question.present]
    return AskedImage(scene.image, present=present, masks=np.stack(truth), absent=absent)


def scene_things(
    corpus: Corpus, *, scenes: int, seed: int, size_px: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first of the same scenes, each with the masks of its objects, bool [N,S,S]."""
    for index in range(scenes):
        scene = compose_scene(corpus, np.random.default_rng([seed, 4, index]), size_px=size_px)
        yield scene.image, scene.masks


@dataclass(frozen=True)
class NamedObjects:
    """An image with the objects in it, each with its name.

    Attributes:
        image: uint8 RGB [H,W,3].
        names: the N names.
        masks: bool [N,H,W].
    """

    image: np.ndarray
    names: Sequence[str]
    masks: np.ndarray
