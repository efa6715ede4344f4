"""Teaches labels by labelled images: examples, hard negatives, thresholds, and a report.

The backbone sees each image once; of an image, its patches are kept. All the rest is a few
products of matrices. Negatives are what the labels, as learnt so far, take for theirs in images
that do not show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.learning.coco_file import LabelledImage, LabelledImages
from samclip_sdk.engine.learning.fitting import FOLDS, Fit, Pupil, fit, fit_threshold
from samclip_sdk.engine.learning.label_quality import (
    LabelQuality,
    encode_labelled,
    measure_labels,
    same_mask,
    true_mask,
)
from samclip_sdk.engine.regions import pool_over_mask
from samclip_sdk.errors import PromptError
from samclip_sdk.image.frame import covered_cells
from samclip_sdk.image.masks import mask_to_model
from samclip_sdk.image.upscale import sigmoid
from samclip_sdk.system.arguments import finite_number
from samclip_sdk.system.progress import OnProgress
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.tokenizer import clean_text
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]

ROUNDS = 3
"""How often negatives are looked for."""

MAX_IMAGES = 0.5
"""The share of images above which a label that takes the whole in them has learnt the whole."""

_LIKELY_WORDS = 5  # that a label which learnt a whole thing is compared with


@dataclass(frozen=True)
class LearnedLabel:
    """A label that was learnt.

    Attributes:
        label: its name.
        examples: the number of images that it was learnt from.
        negatives: the number of times that it learnt what it is not.
        threshold: 0..1, the presence from which it counts as being in an image.
        before: how well it was found in the held-out images by its word.
        after: the same, now.
        same_as: if it learnt a whole thing instead of the part that was given, the taught word that
            masks the same; None if none does.
    """

    label: str
    examples: int
    negatives: int
    threshold: float
    before: LabelQuality
    after: LabelQuality
    same_as: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it learnt a whole thing instead of the part that was given.

        In most held-out images where it is found, its mask covers what was given, and is at least
        twice as large.
        """
        return self.after.whole > MAX_IMAGES

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        qualities = {"before": self.before.to_dict(), "after": self.after.to_dict()}
        return {**vars(self), **qualities}


@dataclass(frozen=True)
class LearnReport:
    """What was learnt from labelled images, and how well.

    Attributes:
        labels: those that were learnt.
        left_out: labels that no image shows from which they could be learnt.
        images: the number of images to learn from.
        held_out: the number of held-out images.
    """

    labels: tuple[LearnedLabel, ...]
    left_out: tuple[str, ...]
    images: int
    held_out: int

    @property
    def before(self) -> dict[str, LabelQuality]:
        """How well each label was found by its word."""
        return {each.label: each.before for each in self.labels}

    @property
    def after(self) -> dict[str, LabelQuality]:
        """How well each label is found now."""
        return {each.label: each.after for each in self.labels}

    @property
    def worse(self) -> tuple[str, ...]:
        """The labels whose masks cover less of what is there than those of their words did."""
        return tuple(each.label for each in self.labels if each.after.miou < each.before.miou)

    @property
    def wholes(self) -> tuple[str, ...]:
        """The labels that learnt a whole thing instead of the part that was given."""
        return tuple(each.label for each in self.labels if each.whole)

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        return {**vars(self), "labels": [each.to_dict() for each in self.labels]}


@dataclass(frozen=True)
class _Studied:
    """An image to learn from.

    Attributes:
        patches: float16 [n,E], those of the image.
        shown: label -> the embedding [E] of what shows it.
        labels: those that the image shows.
    """

    patches: NDArray[np.float16]
    shown: dict[str, Array]
    labels: frozenset[str]


def checked_share(held_out: float) -> float:
    """The share of images that is held out; raises PromptError if it is not possible."""
    if not 0 < finite_number(held_out, name="held_out") < 1:
        raise PromptError(f"held_out is {held_out:g}; it must be above 0 and below 1")
    return float(held_out)


def learn_images(
    engine: Engine,
    labelled: LabelledImages,
    *,
    held_out: float,
    seed: int,
    score: float,
    on_progress: OnProgress,
) -> LearnReport:
    """Teaches the engine's texts the labels of images.

    Args:
        engine: runs the graphs.
        labelled: the images.
        held_out: 0..1, the share of images that are not learnt from, but measured.
        seed: of the choice of held-out images.
        score: as in `learn_embedding`.
        on_progress: called after each image of each step.

    Raises:
        PromptError: no image shows any of the labels.
        ImageError: an image cannot be read.
        StorageError: an image has another size than its entry says.
    """
    lessons, kept = labelled.split(held_out=held_out, seed=seed)
    labels = [label for label in labelled.labels if lessons.with_label(label)]
    if not labels:
        raise PromptError("no image shows any of the labels, so nothing can be learned")
    words = engine.texts.own_embeddings(labels, clock=Stopwatch())
    before = measure_labels(
        engine, kept, labels=labels, message="measuring before", on_progress=on_progress
    )
    studied = list(_study(engine, lessons, on_progress=on_progress))
    learned: dict[str, Fit] = {}
    for done, (label, word) in enumerate(zip(labels, words, strict=True)):
        on_progress("learning", done, len(labels))
        learned[label] = _learn(engine, studied, label=label, word=word, score=score)
    engine.texts.learn(
        labels,
        np.stack([each.embedding for each in learned.values()]),
        thresholds=[each.threshold for each in learned.values()],
    )
    after = measure_labels(
        engine, kept, labels=labels, message="measuring after", on_progress=on_progress
    )
    told = [
        LearnedLabel(
            label,
            lessons.with_label(label),
            learned[label].negatives,
            learned[label].threshold,
            before[label],
            after[label],
        )
        for label in labels
    ]
    return LearnReport(
        labels=tuple(_compared_with_words(engine, kept, each) for each in told),
        left_out=tuple(each for each in labelled.labels if each not in labels),
        images=len(lessons.images),
        held_out=len(kept.images),
    )


def _compared_with_words(
    engine: Engine, kept: LabelledImages, learned: LearnedLabel
) -> LearnedLabel:
    """A label with the word whose whole thing it learnt instead of a part."""
    known = engine.known_words
    if not learned.whole or known is None:
        return learned
    (embedding,) = engine.texts.own_embeddings([learned.label], clock=Stopwatch())
    nearest = [word for word, _ in known.nearest(embedding, count=_LIKELY_WORDS)]
    words = [word for word in nearest if clean_text(word) != clean_text(learned.label)]
    return replace(learned, same_as=same_mask(engine, kept, label=learned.label, words=words))


def fit_thresholds(
    engine: Engine, labelled: LabelledImages, *, on_progress: OnProgress
) -> dict[str, float]:
    """Fits the threshold of each label to images, by its presence in them.

    Args:
        engine: runs the graphs.
        labelled: the images.
        on_progress: called after each image.

    Returns:
        Label -> 0..1, the presence from which it is in an image. A label that all images show,
        or none, is left out.

    Raises:
        ImageError: an image cannot be read.
        StorageError: an image has another size than its entry says.
    """
    calibration, labels = engine.manifest.calibration, labelled.labels
    words = engine.texts.own_embeddings(labels, clock=Stopwatch())
    studied = list(_study(engine, labelled, on_progress=on_progress))
    presence = _ask(studied, words, calibration=calibration).presence
    fitted = {}
    for label, own in zip(labels, presence.T, strict=True):
        shows = np.array([label in each.labels for each in studied])
        if shows.any() and not shows.all():
            fitted[label], _ = fit_threshold(
                own[shows], own[~shows], default=calibration.presence_threshold
            )
    return fitted


def _study(
    engine: Engine, lessons: LabelledImages, *, on_progress: OnProgress
) -> Iterator[_Studied]:
    """Encodes images, and embeds what they show of each label."""
    on_progress("looking at examples", 0, len(lessons.images))
    for done, image in enumerate(lessons.images, 1):
        yield _study_one(engine, image)
        on_progress("looking at examples", done, len(lessons.images))


def _study_one(engine: Engine, image: LabelledImage) -> _Studied:
    one = encode_labelled(engine, image)
    patches = one.patches
    shown = {}
    for label, own in image.objects.items():
        mask = true_mask(one, own)
        if mask.any():
            model_mask = mask_to_model(mask, frame=one.frame)
            shown[label] = pool_over_mask(patches, mask_hw=model_mask)
    side = math.isqrt(patches.shape[1])
    rows, columns = covered_cells(one.frame, side=side)
    inside = patches.reshape(side, side, -1)[:rows, :columns]
    return _Studied(
        inside.reshape(rows * columns, -1).astype(np.float16), shown, frozenset(image.objects)
    )


def _learn(
    engine: Engine, studied: Sequence[_Studied], *, label: str, word: Array, score: float
) -> Fit:
    """Learns a label: the best of its word, of its examples, and of these with negatives."""
    calibration = engine.manifest.calibration
    shows = np.array([label in each.labels for each in studied])
    examples = {
        number: each.shown[label] for number, each in enumerate(studied) if label in each.shown
    }
    if not examples:  # all masks are too small to cover anything
        return Fit(word, calibration.presence_threshold, negatives=0, gain=0.0)
    pupil = Pupil(word, shows, examples)
    asked = _ask(studied, np.stack([word] * (FOLDS + 1)), calibration=calibration)
    fits = [fit(word, asked.presence, shows=shows, negatives=0, calibration=calibration)]
    for _ in range(ROUNDS + 1):
        versions = pupil.versions(calibration=calibration, score=score)
        asked = _ask(studied, versions, calibration=calibration)
        fits.append(
            fit(
                versions[-1],
                asked.presence,
                shows=shows,
                negatives=len(pupil.negatives[-1]),
                calibration=calibration,
            )
        )
        pupil.take(asked.presence, asked.regions, calibration=calibration)
    return max(reversed(fits), key=lambda each: each.gain)


class _Asked(NamedTuple):
    """How N images answer V versions of a label.

    Attributes:
        presence: float32 [N,V].
        regions: float32 [N,V,E], the mean of the patches that are taken for the label; zeros if
            none is.
    """

    presence: Array
    regions: Array


def _ask(studied: Sequence[_Studied], versions: Array, *, calibration: Calibration) -> _Asked:
    """Looks for versions [V,E] of a label in images."""
    scale, bias = np.float32(calibration.scale), np.float32(calibration.bias)
    presence, regions = [], []
    for each in studied:
        patches = each.patches.astype(np.float32)
        odds = sigmoid(scale * (patches @ versions.T - bias))
        taken = (odds >= calibration.presence_threshold).astype(np.float32)
        presence.append(odds.max(axis=0))
        regions.append(normalize(taken.T @ patches))
    return _Asked(np.stack(presence), np.stack(regions))
