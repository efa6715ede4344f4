"""Teaches labels by labelled pictures: examples, hard negatives, thresholds, and a report.

The backbone sees each picture once; of a picture, its patches are kept. All the rest is a few
products of matrices. Negatives are what the labels, as learnt so far, take for theirs in pictures
that do not show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.label_search import sigmoid
from samclip_sdk.engine.learning.coco_file import LabelledPicture, LabelledPictures
from samclip_sdk.engine.learning.fitting import FOLDS, Pupil, fit_threshold, mean_above
from samclip_sdk.engine.learning.label_quality import (
    LabelQuality,
    encode_labelled,
    measure_labels,
    true_mask,
)
from samclip_sdk.engine.regions import pool_over_mask
from samclip_sdk.errors import PromptError
from samclip_sdk.picture.frame import covered_cells
from samclip_sdk.picture.masks import mask_to_model
from samclip_sdk.system.progress import OnProgress
from samclip_sdk.system.timing import Stopwatch

Array = NDArray[np.float32]

_ROUNDS = 2  # in which negatives are looked for


@dataclass(frozen=True)
class LearnedLabel:
    """A label that was learnt.

    Attributes:
        label: its name.
        examples: the number of pictures that it was learnt from.
        negatives: the number of pictures in which something else was taken for it.
        threshold: 0..1, the presence from which it counts as being in a picture.
        before: how well it was found in the held-out pictures by its word.
        after: the same, now.
    """

    label: str
    examples: int
    negatives: int
    threshold: float
    before: LabelQuality
    after: LabelQuality

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        qualities = {"before": self.before.to_dict(), "after": self.after.to_dict()}
        return {**vars(self), **qualities}


@dataclass(frozen=True)
class LearnReport:
    """What was learnt from labelled pictures, and how well.

    Attributes:
        labels: those that were learnt.
        left_out: labels that no picture shows from which they could be learnt.
        pictures: the number of pictures to learn from.
        held_out: the number of held-out pictures.
    """

    labels: tuple[LearnedLabel, ...]
    left_out: tuple[str, ...]
    pictures: int
    held_out: int

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        return {**vars(self), "labels": [each.to_dict() for each in self.labels]}


@dataclass(frozen=True)
class _Studied:
    """A picture to learn from.

    Attributes:
        patches: float16 [n,E], those of the picture.
        shown: label -> the embedding [E] of what shows it.
        labels: those that the picture shows.
    """

    patches: NDArray[np.float16]
    shown: dict[str, Array]
    labels: frozenset[str]


def learn_pictures(
    engine: Engine,
    labelled: LabelledPictures,
    *,
    held_out: float,
    seed: int,
    score: float,
    on_progress: OnProgress,
) -> LearnReport:
    """Teaches the engine's texts the labels of pictures.

    Args:
        engine: runs the graphs.
        labelled: the pictures.
        held_out: 0..1, the share of pictures that are not learnt from, but measured.
        seed: of the choice of held-out pictures.
        score: as in `learn_embedding`.
        on_progress: called after each picture of each step.

    Raises:
        PromptError: no picture shows any of the labels.
        ImageError: a picture cannot be read.
        StorageError: a picture has another size than its entry says.
    """
    lessons, kept = labelled.split(held_out=held_out, seed=seed)
    labels = [label for label in labelled.labels if lessons.with_label(label)]
    if not labels:
        raise PromptError("no picture shows any of the labels: there is nothing to learn from")
    before = measure_labels(
        engine, kept, labels=labels, message="measuring before", on_progress=on_progress
    )
    words = engine.texts.embed_labels(labels, clock=Stopwatch(), warn=False)
    studied = list(_study(engine, lessons, on_progress=on_progress))
    learned = {
        label: _learn(engine, studied, label=label, word=word, score=score)
        for label, word in zip(labels, words, strict=True)
    }
    engine.texts.learn(
        labels,
        np.stack([each.embedding for each in learned.values()]),
        thresholds=[each.threshold for each in learned.values()],
    )
    after = measure_labels(
        engine, kept, labels=labels, message="measuring after", on_progress=on_progress
    )
    return LearnReport(
        labels=tuple(
            LearnedLabel(
                label,
                lessons.with_label(label),
                learned[label].negatives,
                learned[label].threshold,
                before[label],
                after[label],
            )
            for label in labels
        ),
        left_out=tuple(each for each in labelled.labels if each not in labels),
        pictures=len(lessons.pictures),
        held_out=len(kept.pictures),
    )


def _study(
    engine: Engine, lessons: LabelledPictures, *, on_progress: OnProgress
) -> Iterator[_Studied]:
    """Encodes pictures, and embeds what they show of each label."""
    on_progress("looking at examples", 0, len(lessons.pictures))
    for done, picture in enumerate(lessons.pictures, 1):
        yield _study_one(engine, picture)
        on_progress("looking at examples", done, len(lessons.pictures))


def _study_one(engine: Engine, picture: LabelledPicture) -> _Studied:
    embedding = encode_labelled(engine, picture)
    patches = engine.patch_embeddings(embedding, clock=Stopwatch())
    shown = {}
    for label, own in picture.objects.items():
        mask = true_mask(engine, embedding, own)
        if mask.any():
            model_mask = mask_to_model(mask, frame=embedding.frame)
            shown[label] = pool_over_mask(patches, mask=model_mask)
    side = math.isqrt(patches.shape[1])
    rows, columns = covered_cells(embedding.frame, side=side)
    inside = patches.reshape(side, side, -1)[:rows, :columns]
    return _Studied(
        inside.reshape(rows * columns, -1).astype(np.float16), shown, frozenset(picture.objects)
    )


@dataclass(frozen=True)
class _Learned:
    embedding: Array
    threshold: float
    negatives: int
    gain: float


def _learn(
    engine: Engine, studied: list[_Studied], *, label: str, word: Array, score: float
) -> _Learned:
    """Learns a label: the best of its word, of its examples, and of these with negatives."""
    calibration = engine.manifest.calibration
    default = calibration.presence_threshold
    scale, bias = np.float32(calibration.scale), np.float32(calibration.bias)
    positives = {
        number: each.shown[label] for number, each in enumerate(studied) if label in each.shown
    }
    pupil, best, taken = Pupil(word, positives), None, set[int]()
    there = np.array([label in each.labels for each in studied])
    folds = np.arange(len(studied)) % FOLDS
    for turn in range(_ROUNDS + 1):
        versions = pupil.versions(calibration=calibration, score=score)
        asked = np.concatenate([versions, word[None]])
        negatives, presence = len(taken), np.zeros((len(studied), len(asked)), np.float32)
        for number, each in enumerate(studied):
            patches = each.patches.astype(np.float32)
            odds = sigmoid(scale * (patches @ asked.T - bias))
            presence[number] = odds.max(axis=0)
            if label in each.labels or turn == _ROUNDS:
                continue
            for version, of_version in enumerate(pupil.negatives):
                wrong = None
                if version != folds[number] and presence[number, version] >= default:
                    wrong = mean_above(patches, odds[:, version], least=default)
                if wrong is not None:
                    of_version.append(wrong)
                    taken.add(number)
        unseen = presence[np.arange(len(studied)), folds]
        ways = [(unseen, versions[-1], negatives)]
        if turn == 0:
            ways.insert(0, (presence[:, -1], word, 0))
        for seen, embedding, count in ways:
            threshold, gain = fit_threshold(seen[there], seen[~there], default=default)
            if best is None or gain >= best.gain:
                best = _Learned(embedding, threshold, count, gain)
    assert best is not None
    return best
