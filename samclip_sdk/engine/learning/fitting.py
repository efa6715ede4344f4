"""Fits a label and its threshold to images that show it and images that do not.

Pure functions of numpy arrays. A threshold that is chosen on the very images that a label was
learnt from is too high for others. So the images are dealt into folds, the label is learnt once
without each fold, and an image counts with its presence by the label that never saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.errors import PromptError
from samclip_sdk.text.learned_label import learn_embedding

Array = NDArray[np.float32]

FOLDS = 4
"""The number of folds."""

MAX = 8
"""The number of negatives that a round adds at most: the worst ones. A mean of many is none."""

FALSE_COST = 3.0
"""How much worse a false image is than a missed one."""

_MIN, _MAX = 0.02, 0.98  # of a threshold
_MARGIN = 0.1  # of the way to the examples, for runtimes that compute less exactly


@dataclass(frozen=True)
class Fit:
    """A label that fits its images.

    Attributes:
        embedding: [E], unit length.
        threshold: 0..1, the presence from which it is in an image.
        negatives: the number of negatives that it was learnt from.
        gain: how well it tells images that show it from others; see `fit_threshold`.
    """

    embedding: Array
    threshold: float
    negatives: int
    gain: float


def deal(shows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The fold of each of N images: those that show the label, and the others, in turn."""
    folds = np.empty(len(shows), dtype=np.int64)
    for kind in (shows, ~shows):
        folds[kind] = np.arange(np.count_nonzero(kind)) % FOLDS
    return folds


@dataclass
class Pupil:
    """A label as it is being learnt: from all examples, and from those outside of each fold.

    Attributes:
        word: [E], its embedding before.
        shows: bool [N], the images that show it.
        positives: the number of each image that shows it -> the embedding of what it shows.
        negatives: of each version of the label, the embeddings of what was taken for it.
    """

    word: Array
    shows: NDArray[np.bool_]
    positives: dict[int, Array]
    negatives: list[list[Array]] = field(default_factory=lambda: [[] for _ in range(FOLDS + 1)])

    def versions(self, *, calibration: Calibration, score: float) -> Array:
        """The label learnt without each fold, and at last from all examples: [FOLDS + 1,E]."""
        versions, folds = [], deal(self.shows)
        for fold, negatives in enumerate(self.negatives):
            own = [each for number, each in self.positives.items() if folds[number] != fold]
            versions.append(self._version(own, negatives, calibration=calibration, score=score))
        return np.stack(versions)

    def take(self, presence: Array, regions: Array, *, calibration: Calibration) -> None:
        """Adds the worst false alarms of each version to what it must not be.

        Args:
            presence: [N,V], of each version in each image.
            regions: [N,V,E], what was taken for it there.
            calibration: of the scores.
        """
        folds = deal(self.shows)
        for fold, negatives in enumerate(self.negatives):
            false = ~self.shows & (folds != fold)
            false &= presence[:, fold] >= calibration.presence_threshold
            worst = np.argsort(-presence[:, fold] * false, kind="stable")[: min(MAX, false.sum())]
            negatives += list(regions[worst, fold])

    def _version(
        self, own: list[Array], negatives: list[Array], *, calibration: Calibration, score: float
    ) -> Array:
        if not own:  # its only example is in the fold
            return self.word
        try:
            return learn_embedding(
                self.word,
                positives=np.stack(own),
                negatives=np.array(negatives, np.float32).reshape(-1, len(self.word)),
                calibration=calibration,
                score=score,
            )
        except PromptError:  # what is taken for it cannot be told from it
            negatives.clear()
            return self._version(own, negatives, calibration=calibration, score=score)


def fit(
    embedding: Array,
    presence: Array,
    *,
    shows: NDArray[np.bool_],
    negatives: int,
    calibration: Calibration,
) -> Fit:
    """Fits the threshold of a label, by the version of it that never saw the image.

    Args:
        embedding: [E], the label learnt from all examples.
        presence: [N,FOLDS + 1], of each version in each image.
        shows: [N], the images that show the label.
        negatives: the number of negatives that it was learnt from.
        calibration: of the scores.
    """
    unseen = presence[np.arange(len(shows)), deal(shows)]
    threshold, gain = fit_threshold(
        unseen[shows], unseen[~shows], default=calibration.presence_threshold
    )
    return Fit(embedding, threshold, negatives, gain)


def fit_threshold(there: Array, absent: Array, *, default: float) -> tuple[float, float]:
    """Chooses the presence that tells images with a label from those without it.

    Args:
        there: 0..1, [n], the presence in images that show the label.
        absent: 0..1, [m], the presence in images that do not.
        default: the threshold that is kept if none is better.

    Returns:
        The threshold, and its gain: the share of found images, less `FALSE_COST` times the share
        of false ones. Of equally good thresholds it is the one nearest to the default, in the
        middle between two images. Without images of both kinds, it is the default.
    """
    base = _logit([default])
    if len(there) and len(absent):
        known = np.unique(_logit([*there, *absent]))
        options = np.concatenate([base, (known[1:] + known[:-1]) / 2])
        options = np.clip(options, *_logit([_MIN, _MAX]))
    else:
        options = base
    gains = np.zeros(len(options))
    for presence, worth in ((there, 1), (absent, -FALSE_COST)):
        if len(presence):
            gains += worth * (_logit(presence)[:, None] >= options).mean(axis=0)
    best = np.flatnonzero(gains >= gains.max() - 1e-9)
    nearest = best[np.abs(options[best] - base[0]).argmin()]
    return float(1 / (1 + np.exp(-options[nearest]))), float(gains[nearest])


def threshold_between(
    there: Sequence[float], absent: Sequence[float], *, default: float
) -> float | None:
    """The threshold with which no counterexample is found, and all examples are.

    It is hardly above the worst counterexample: a higher one would find less in other images.

    Args:
        there: 0..1, one or more, the presence of a label in its examples.
        absent: 0..1, its presence in the counterexamples.
        default: the threshold without one.

    Returns:
        None if the default does so, or if no threshold does.
    """
    worst = max(absent, default=0.0)
    if not default <= worst < min(there):
        return None
    low, high = _logit([worst, min(there)])
    return float(1 / (1 + np.exp(-(low + _MARGIN * (high - low)))))


def _logit(presence: Sequence[float] | Array) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(presence, dtype=np.float64), 1e-6, 1 - 1e-6)
    logits: NDArray[np.float64] = np.log(inside / (1 - inside))
    return logits
