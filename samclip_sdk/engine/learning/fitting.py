"""Fits a label and its threshold to pictures that show it and pictures that do not.

Pure functions of numpy arrays. A threshold that is chosen on the very pictures that a label was
learnt from is too high for others. So the pictures are dealt into folds, the label is learnt once
without each fold, and a picture counts with its presence by the label that never saw it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.errors import PromptError
from samclip_sdk.text.learned_label import learn_embedding
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]

FOLDS = 4
"""The number of folds."""

_LEAST, _MOST = 0.02, 0.98  # of a threshold


@dataclass
class Pupil:
    """A label as it is being learnt: from all examples, and from those outside of each fold.

    Attributes:
        word: [E], its embedding before.
        positives: the number of each picture that shows it -> the embedding of what it shows.
        negatives: of each of its versions, the embeddings of what was taken for it.
    """

    word: Array
    positives: dict[int, Array]
    negatives: list[list[Array]] = field(default_factory=lambda: [[] for _ in range(FOLDS + 1)])

    def versions(self, *, calibration: Calibration, score: float) -> Array:
        """The label learnt without each fold, and at last from all examples: [FOLDS + 1,E]."""
        learned = []
        for fold, negatives in enumerate(self.negatives):
            own = [each for number, each in self.positives.items() if number % FOLDS != fold]
            if not own:  # its only example
                learned.append(self.word)
                continue
            try:
                learned.append(
                    learn_embedding(
                        self.word,
                        positives=np.stack(own),
                        negatives=np.array(negatives, np.float32).reshape(-1, len(self.word)),
                        calibration=calibration,
                        score=score,
                    )
                )
            except PromptError:  # what was taken for it cannot be told from it
                negatives.clear()
                return self.versions(calibration=calibration, score=score)
        return np.stack(learned)


def mean_above(patches: Array, scores: Array, *, least: float) -> Array | None:
    """The mean of the patches [n,E] that score `least` or more: unit length; None without any."""
    above = scores >= least
    if not above.any():
        return None
    return normalize(patches[above].mean(axis=0))


def fit_threshold(there: Array, absent: Array, *, default: float) -> tuple[float, float]:
    """Chooses the presence that tells pictures with a label from those without it.

    Args:
        there: 0..1, [n], the presence in pictures that show the label.
        absent: 0..1, [m], the presence in pictures that do not.
        default: the threshold that is kept if none is better.

    Returns:
        The threshold, and the share of found pictures less that of false ones. Of equally good
        thresholds it is the one nearest to the default, in the middle between two pictures.
    """
    if not len(there) or not len(absent):
        return default, float((there >= default).mean()) if len(there) else 0.0
    logits = [np.unique(_logit(each)) for each in (np.concatenate([there, absent]), [default])]
    between = (logits[0][1:] + logits[0][:-1]) / 2
    options = np.concatenate([logits[1], between])
    options = np.clip(options, *_logit([_LEAST, _MOST]))
    gains = (_logit(there)[:, None] >= options).mean(axis=0)
    gains -= (_logit(absent)[:, None] >= options).mean(axis=0)
    best = np.flatnonzero(gains >= gains.max() - 1e-9)
    nearest = best[np.abs(options[best] - logits[1][0]).argmin()]
    return float(1 / (1 + np.exp(-options[nearest]))), float(gains[nearest])


def _logit(presence: Array | list[float]) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(presence, dtype=np.float64), 1e-6, 1 - 1e-6)
    logits: NDArray[np.float64] = np.log(inside / (1 - inside))
    return logits
