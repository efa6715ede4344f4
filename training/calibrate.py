"""Calibration of text-to-mask on training scenes: cosines to scores, and the three thresholds.

Raw cosines of one label rarely reach 0.5 and mean nothing alone. A score s = a (cos - b) is fitted
so that sigmoid(s) tells how likely a patch belongs to the label, and thresholds are then chosen by
what they do to answers, on scenes that ask for present labels and for absent ones alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from training.composed.corpus import Corpus
from training.composed.label_questions import pose_question
from training.composed.scenes import Scene, compose_scene

CALIBRATION_NAME = "calibration.json"
_LEVELS = 1 / (1 + np.exp(-np.arange(-6.0, 4.25, 0.25)))  # evenly spaced as scores
_FLAT = 0.02  # differences of what `choose_presence` maximises that 150 scenes cannot tell
_POINT_LEVELS = (0.05, 0.15, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Answer:
    """What the CLIP head says of one label in one scene.

    cosines float32 [h,h]; coverage float32 [h,h], the share of each patch that the label's objects
    cover, all 0 if it is absent.
    """

    cosines: np.ndarray
    coverage: np.ndarray

    @property
    def present(self) -> bool:
        """Whether the scene has the label."""
        return bool(self.coverage.any())


def calibrate(
    checkpoint: Path, corpus: Corpus, *, size_px: int, scenes: int, seed: int
) -> Calibration:
    """Calibrates a checkpoint and writes `calibration.json` into it.

    Args:
        checkpoint: folder of the checkpoint.
        corpus: of the training split.
        size_px: side of the scenes.
        scenes: how many to ask; a third of them chooses the threshold for points.
        seed: of the scenes.
    """
    (checkpoint / CALIBRATION_NAME).unlink(missing_ok=True)
    with SamClip.load("torch", model=checkpoint) as model:
        answers = list(_ask(model, corpus, size_px=size_px, scenes=scenes, seed=seed))
    scale, bias = fit_scores(answers)
    calibration = Calibration(
        scale=scale,
        bias=bias,
        presence_threshold=choose_presence(answers, scale=scale, bias=bias),
        head_only_threshold=choose_head_only(answers, scale=scale, bias=bias),
        mask_threshold_score=0.5,
    )
    found: dict[float, float] = {}
    for level in _POINT_LEVELS:
        _write(checkpoint, calibration.model_copy(update={"mask_threshold_score": level}))
        with SamClip.load("torch", model=checkpoint) as model:
            found[level] = _refined_iou(
                model, corpus, size_px=size_px, scenes=scenes // 3, seed=seed
            )
    best = max(found, key=lambda level: found[level])
    calibration = calibration.model_copy(update={"mask_threshold_score": best})
    _write(checkpoint, calibration)
    return calibration


def fit_scores(answers: list[Answer]) -> tuple[float, float]:
    """Logistic regression of "this patch is the label's" on its cosine: a and b of a (cos - b).

    Patches that an object covers in part teach nothing. All others count alike, which puts the
    background far below zero: as a mask prompt, a map that hovers around zero makes SAM's decoder
    flood the picture.
    """
    cosines = np.concatenate([answer.cosines.ravel() for answer in answers]).astype(np.float64)
    coverage = np.concatenate([answer.coverage.ravel() for answer in answers])
    sure = (coverage >= 0.5) | (coverage == 0)
    x, y = cosines[sure], (coverage[sure] >= 0.5).astype(np.float64)
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    for _ in range(25):  # Newton's method; the loss is convex in two unknowns
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (p - y)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        theta -= np.linalg.solve(hessian, gradient)
    scale = float(max(theta[0], 1e-3))
    return scale, float(np.clip(-theta[1] / scale, -1, 1))


def choose_presence(answers: list[Answer], *, scale: float, bias: float) -> float:
    """The threshold that finds most present labels, per present label or false alarm.

    Of those that are about as good, the highest: the curve is flat, and a false mask is worse than
    a missed one.
    """
    peaks = _sigmoid(scale * (np.array([each.cosines.max() for each in answers]) - bias))
    present = np.array([answer.present for answer in answers])
    # Thresholds between the peaks themselves: near 1 a fixed step would be too coarse.
    levels = np.unique(peaks.clip(1e-6, 1 - 1e-6))
    gains = [
        (present & (peaks >= level)).sum() / (present.sum() + (~present & (peaks >= level)).sum())
        for level in levels
    ]
    as_good = np.flatnonzero(np.array(gains) >= max(gains) - _FLAT)
    return float(levels[as_good[-1]])


def choose_head_only(answers: list[Answer], *, scale: float, bias: float) -> float:
    """The threshold on the upsampled score map with the best mean IoU over present labels."""
    present = [answer for answer in answers if answer.present]
    ious = np.zeros(len(_LEVELS))
    for answer in present:
        side = (4 * answer.cosines.shape[1], 4 * answer.cosines.shape[0])
        logits = cv2.resize(scale * (answer.cosines - bias), side, interpolation=cv2.INTER_LINEAR)
        truth = cv2.resize(answer.coverage, side, interpolation=cv2.INTER_LINEAR) > 0.5
        for index, level in enumerate(_LEVELS):
            mask = logits > math.log(level / (1 - level))
            ious[index] += (mask & truth).sum() / max(1, (mask | truth).sum())
    return float(_LEVELS[int(ious.argmax())])


def _ask(
    model: SamClip, corpus: Corpus, *, size_px: int, scenes: int, seed: int
) -> Iterator[Answer]:
    """Asks each scene for its labels and for absent ones; cosines from an uncalibrated model."""
    for scene, nouns in _questions(model, corpus, size_px=size_px, scenes=scenes, seed=seed):
        labels = [corpus.nouns[noun] for noun in nouns]
        maps = model.segment_text(scene.image, labels, threshold=1.0, refine=False).score_maps
        cosines = maps / UNCALIBRATED.scale + UNCALIBRATED.bias
        side = cosines.shape[-1]
        for cosine, noun in zip(cosines, nouns, strict=True):
            mask = scene.masks[scene.labels == noun].any(axis=0).astype(np.float32)
            yield Answer(cosine, cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA))


def _refined_iou(model: SamClip, corpus: Corpus, *, size_px: int, scenes: int, seed: int) -> float:
    """Mean IoU of the present labels that are found, with both heads."""
    ious = []
    for scene, nouns in _questions(model, corpus, size_px=size_px, scenes=scenes, seed=seed):
        result = model.segment_text(scene.image, [corpus.nouns[noun] for noun in nouns])
        for index in result.present_index:
            truth = scene.masks[scene.labels == nouns[index]].any(axis=0)
            if truth.any():
                mask = result.masks[index]
                ious.append((mask & truth).sum() / (mask | truth).sum())
    return float(np.mean(ious)) if ious else 0.0


def _questions(
    model: SamClip, corpus: Corpus, *, size_px: int, scenes: int, seed: int
) -> Iterator[tuple[Scene, tuple[int, ...]]]:
    """Scenes with the nouns to ask for, present ones first."""
    text_embeddings = model.embed_text(list(corpus.nouns))
    for index in track(range(scenes), description="calibrating"):
        rng = np.random.default_rng([seed, 4, index])
        scene = compose_scene(corpus, rng, size_px=size_px)
        question = pose_question(scene, text_embeddings=text_embeddings, rng=rng)
        yield scene, (*question.present, *question.absent)


def _write(checkpoint: Path, calibration: Calibration) -> None:
    with atomic_file(checkpoint / CALIBRATION_NAME) as file:
        file.write(json.dumps(calibration.model_dump(mode="json"), indent=2).encode() + b"\n")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
