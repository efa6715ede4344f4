"""Questions of text-to-mask to a scene: labels that are in it, and labels that are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.composed.scenes import Scene

ABSENT = 5


@dataclass(frozen=True)
class Question:
    """The question to one scene, as indices of nouns: `absent[0]` is nearest to a present one."""

    present: tuple[int, ...]
    absent: tuple[int, ...]


def pose_question(
    scene: Scene, *, text_embeddings: np.ndarray, rng: np.random.Generator
) -> Question:
    """Picks the labels to ask a scene for: all that are in it, and `ABSENT` that are not.

    A noun that the scene's photo may show (`Scene.unlabelled`) is neither. Of the absent nouns the
    first is the one whose text embedding, of unit vectors [K,E], is nearest to that of any present
    noun, so that a model must tell the two apart; the others are drawn.
    """
    present = np.unique(scene.labels)
    excluded = np.concatenate([present, scene.unlabelled])
    absent = np.setdiff1d(np.arange(len(text_embeddings)), excluded)
    nearness = (text_embeddings[absent] @ text_embeddings[present].T).max(axis=1)
    nearest = absent[nearness.argmax()]
    others = rng.permutation(absent[absent != nearest])[: ABSENT - 1]
    return Question(tuple(present.tolist()), (int(nearest), *others.tolist()))
