"""Calibration of text-to-mask: cosines to scores, and thresholds, by a checkpoint's own answers.

A model is asked for labels that pictures show and for labels that they do not, alike. Composed
scenes say where their labels are; captioned pictures only which ones they show, so that the
thresholds of masks cannot be chosen on them. Whatever is tried is tried in memory: a checkpoint's
files change once, when all is known.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.errors import TextTruncatedWarning
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from samclip_sdk.runtimes.pytorch import Checkpoint
from samclip_sdk.text_to_mask import covered_cells
from training.composed.corpus import Corpus
from training.composed.label_questions import pose_question
from training.composed.scenes import Scene, compose_scene
from training.real.captioned_pictures import CaptionedPicture
from training.thresholds import Answer, choose_head_only, choose_presence, fit_patches, fit_peaks

CALIBRATION_NAME = "calibration.json"
_CONFIG_NAME = "config.json"
NEED_MASKS = ("mask_threshold_score", "head_only_threshold")
"""The thresholds that pictures without masks leave at their defaults."""

_POINT_LEVELS = (0.05, 0.15, 0.3, 0.5, 0.7)
_DOING = "calibrating"


def calibrate_on_scenes(
    checkpoint: Checkpoint,
    corpus: Corpus,
    *,
    scenes: int,
    seed: int,
    on_progress: OnProgress = tell_nobody,
) -> Calibration:
    """Chooses scores and all thresholds on composed scenes, of the segmentation resolution.

    Args:
        checkpoint: the model.
        corpus: of the training split.
        scenes: how many to ask; a third of them, asked again, chooses the threshold for points.
        seed: of the scenes.
        on_progress: told how many were asked.
    """
    again = scenes // 3
    answers: list[Answer] = []
    with _calibrated(checkpoint, UNCALIBRATED) as model:
        for done, (scene, nouns) in enumerate(_questions(model, corpus, scenes=scenes, seed=seed)):
            on_progress(_DOING, done, scenes + again)
            answers += _ask(model, scene, nouns, corpus=corpus)
    scale, bias = fit_patches(answers)
    calibration = Calibration(
        scale=scale,
        bias=bias,
        presence_threshold=choose_presence(
            np.array([each.cosines.max() for each in answers]),
            np.array([each.present for each in answers]),
            scale=scale,
            bias=bias,
        ),
        head_only_threshold=choose_head_only(answers, scale=scale, bias=bias),
        mask_threshold_score=UNCALIBRATED.mask_threshold_score,
    )
    models = {
        level: _calibrated(checkpoint, _with_points_above(calibration, level))
        for level in _POINT_LEVELS
    }
    ious: dict[float, list[float]] = {level: [] for level in _POINT_LEVELS}
    asker = models[_POINT_LEVELS[0]]
    for done, (scene, nouns) in enumerate(_questions(asker, corpus, scenes=again, seed=seed)):
        on_progress(_DOING, scenes + done, scenes + again)
        image = asker.encode_image(scene.image)
        for level, model in models.items():
            ious[level] += _refined_ious(model, image, scene, nouns, corpus=corpus)
    on_progress(_DOING, scenes + again, scenes + again)
    means = {level: float(np.mean(found)) if found else 0.0 for level, found in ious.items()}
    return _with_points_above(calibration, max(means, key=lambda level: means[level]))


def calibrate_on_captions(
    checkpoint: Checkpoint,
    pictures: Iterable[CaptionedPicture],
    *,
    count: int,
    on_progress: OnProgress = tell_nobody,
) -> Calibration:
    """Chooses scores and the presence threshold on pictures of which only captions tell.

    A score says how likely a picture shows a label whose highest cosine in it is the patch's.
    `NEED_MASKS` stay at their defaults.

    Args:
        checkpoint: the model; pictures are seen at its segmentation resolution.
        pictures: with the texts to ask each for.
        count: of the pictures.
        on_progress: told how many were asked.
    """
    peaks: list[float] = []
    present: list[bool] = []
    with _calibrated(checkpoint, UNCALIBRATED) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # captions are cut in training too
        for done, picture in enumerate(pictures):
            on_progress(_DOING, done, count)
            image = model.encode_image(picture.image)
            texts = (*picture.present, *picture.absent)
            maps = model.segment_text(image, texts, threshold=1.0, refine=False).score_maps
            rows, columns = covered_cells(image.frame, side=maps.shape[-1])
            peaks += _cosines(maps)[:, :rows, :columns].max(axis=(1, 2)).tolist()
            present += [text in picture.present for text in texts]
    on_progress(_DOING, count, count)
    highest, shown = np.array(peaks, np.float32), np.array(present)
    scale, bias = fit_peaks(highest, shown)
    return UNCALIBRATED.model_copy(
        update={
            "scale": scale,
            "bias": bias,
            "presence_threshold": choose_presence(highest, shown, scale=scale, bias=bias),
        }
    )


def write_calibration(
    checkpoint: Path, calibration: Calibration, *, provenance: Mapping[str, Any]
) -> None:
    """Writes a checkpoint's `calibration.json`, and into its provenance how it came about.

    Raises:
        StorageError: a file cannot be written; both are as they were.
    """
    content = json.loads((checkpoint / _CONFIG_NAME).read_text(encoding="utf-8"))
    content["provenance"]["calibration"] = dict(provenance)
    with atomic_file(checkpoint / CALIBRATION_NAME) as file:
        file.write(json.dumps(calibration.model_dump(mode="json"), indent=2).encode() + b"\n")
        file.flush()
        with atomic_file(checkpoint / _CONFIG_NAME) as config:
            config.write(json.dumps(content, indent=2).encode() + b"\n")


def _calibrated(checkpoint: Checkpoint, calibration: Calibration) -> SamClip:
    """The checkpoint under another calibration than its folder has, or has not; in memory only.

    It answers with the checkpoint's id, so that one encodes images for another.
    """
    trial = copy.copy(checkpoint)
    trial.manifest = trial.manifest.model_copy(update={"calibration": calibration})
    return SamClip(trial)


def _with_points_above(calibration: Calibration, level: float) -> Calibration:
    return calibration.model_copy(update={"mask_threshold_score": level})


def _questions(
    model: SamClip, corpus: Corpus, *, scenes: int, seed: int
) -> Iterator[tuple[Scene, tuple[int, ...]]]:
    """Scenes with the nouns to ask for, present ones first."""
    size_px = model.manifest.model.segmentation_resolution
    text_embeddings = model.embed_text(list(corpus.nouns))
    for index in range(scenes):
        rng = np.random.default_rng([seed, 4, index])
        scene = compose_scene(corpus, rng, size_px=size_px)
        question = pose_question(scene, text_embeddings=text_embeddings, rng=rng)
        yield scene, (*question.present, *question.absent)


def _ask(
    model: SamClip, scene: Scene, nouns: tuple[int, ...], *, corpus: Corpus
) -> Iterator[Answer]:
    """What an uncalibrated model says of each noun in a scene."""
    labels = [corpus.nouns[noun] for noun in nouns]
    maps = model.segment_text(scene.image, labels, threshold=1.0, refine=False).score_maps
    side = maps.shape[-1]
    for cosines, noun in zip(_cosines(maps), nouns, strict=True):
        mask = scene.masks[scene.labels == noun].any(axis=0).astype(np.float32)
        yield Answer(cosines, cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA))


def _cosines(maps: np.ndarray) -> np.ndarray:
    """What an uncalibrated model's score maps were made of."""
    return maps / UNCALIBRATED.scale + UNCALIBRATED.bias


def _refined_ious(
    model: SamClip, image: ImageEmbedding, scene: Scene, nouns: tuple[int, ...], *, corpus: Corpus
) -> Iterator[float]:
    """The IoU of each present noun's mask, of those that are found, with both heads."""
    result = model.segment_text(image, [corpus.nouns[noun] for noun in nouns])
    for index in result.present_index:
        truth = scene.masks[scene.labels == nouns[index]].any(axis=0)
        if truth.any():
            mask = result.masks[index]
            yield float((mask & truth).sum() / (mask | truth).sum())
