"""A run of random weights: both small teachers, and students of two stages; photographs to ask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.tiny_config import STUDENT
from tests.training.photograph_files import (
    HEIGHT,
    WIDTH,
    annotation,
    encode,
    rectangle,
    sample_image,
    write_set,
)
from training.calibrate import CALIBRATION_NAME
from training.data_config import Images
from training.loop_config import Optimisation
from training.stages.small_teachers import ClipTeacherConfig
from training.teachers.small import SmallSam
from training.teachers.teacher_pair import CLIP_TEACHER, SAM_TEACHER, SmallPair, new_clip
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, save_weights

CLIP = ClipTeacherConfig(
    task="clip_teacher",
    optimisation=Optimisation(steps=1, learning_rate=1e-3, multipliers={"clip_head": 1.0}),
    images=Images(resolutions=(32,), pixels_per_batch=2048),
    image_tower="resnet10t",
    nouns=12,
)
LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
RED, GREEN = (220, 0, 0), (0, 220, 0)
SPLITS = ("train", "train", "calibration", "val")


def write_run(run: Path) -> Path:
    """Both small teachers, and stages 1 and 3, the latter calibrated."""
    clip, sam = new_clip(STUDENT, CLIP), build_model(STUDENT, seed=3)
    for name, module, settings in (
        (CLIP_TEACHER, clip, CLIP.model_dump_json()),
        (SAM_TEACHER, SmallSam(sam), "{}"),
    ):
        (run / name).mkdir(parents=True)
        (run / name / SETTINGS_NAME).write_text(settings, encoding="utf-8")
        save_weights(module.state_dict(), run / name / WEIGHTS_NAME)
    student = SmallPair(STUDENT, CLIP, runs=run).stage0(seed=5)
    for stage in ("stage1", "stage3"):
        told = {"stage": stage, "settings": {"teachers": {"kind": "small"}}}
        save_checkpoint(student, run / stage, provenance=told)
    calibration = json.dumps(UNCALIBRATED.model_dump(mode="json"))
    (run / "stage3" / CALIBRATION_NAME).write_text(calibration, encoding="utf-8")
    return run


def halves() -> bytes:
    """Red at the left and green at the right."""
    pixels = np.full((HEIGHT, WIDTH, 3), GREEN, np.uint8)
    pixels[LEFT] = RED
    return encode(pixels)


def write_photographs(root: Path) -> Path:
    """A complete set of halves, a set of colours with a label each, and a large tench."""
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    write_set(
        root / "halves",
        [(halves(), both, {"split": split}) for split in SPLITS],
        categories=("red", "green", "blue"),
        info={"complete": True},
    )
    colours = [
        (sample_image(*colour), [], {"split": split, "labels": [name]})
        for split in SPLITS
        for name, colour in (("red", RED), ("green", GREEN))
    ]
    large = (sample_image(width=200), [], {"split": "val", "labels": ["Tinca tinca"]})
    write_set(root / "colours", [*colours, large])
    return root
