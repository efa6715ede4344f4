"""A run on photographs of random weights: the pair of teachers, and students of two stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from export.tokenizer import write_tokenizer
from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import ClassifierHeadConfig, PyramidConfig
from tests.tiny_config import STUDENT
from tests.training.photograph_files import (
    HEIGHT,
    WIDTH,
    annotation,
    encode,
    picture,
    rectangle,
    write_set,
)
from training.calibrate import CALIBRATION_NAME
from training.teachers.classifier_clip import ClassifierClip, save_classifier_clip
from training.teachers.photograph_pair import PARTS, PhotographPair
from training.teachers.small import SmallSam, save_teacher
from training.teachers.teacher_pair import SETTINGS_NAME, WEIGHTS_NAME

STUDENT_OF_PHOTOGRAPHS = STUDENT.model_copy(
    update={
        "image_encoder": PyramidConfig(
            image_size_px=64,
            backbone="tf_efficientnet_lite2",
            widths=(48, 120, 352),
            embed_dim=16,
            pixel_mean=(127.0, 127.0, 127.0),  # as the classifier's
            pixel_std=(128.0, 128.0, 128.0),
        ),
        "clip_head": ClassifierHeadConfig(features=1280, hidden_dim=16, mlp_dim=16),
    }
)
LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
RED, GREEN = (220, 0, 0), (0, 220, 0)
SPLITS = ("train", "train", "calibration", "val")


def write_run(run: Path) -> Path:
    """Both teachers, whose backbones differ, and stages 1 and 3, the latter not calibrated."""
    model = STUDENT_OF_PHOTOGRAPHS
    clip, sam = ClassifierClip(model, resolution=64), build_model(model, seed=3)
    torch.manual_seed(0)
    torch.nn.init.normal_(clip.head.project.weight)
    for name in PARTS:
        (run / name).mkdir(parents=True)
        (run / name / SETTINGS_NAME).write_text("{}", encoding="utf-8")
    (run / PARTS[0] / SETTINGS_NAME).write_text('{"resolution": 64}', encoding="utf-8")
    save_classifier_clip(clip, run / PARTS[0] / WEIGHTS_NAME)
    save_teacher(SmallSam(sam), run / PARTS[1] / WEIGHTS_NAME)
    save_teacher(sam.text_encoder, run / PARTS[2] / WEIGHTS_NAME)
    student = PhotographPair(model, runs=run).stage0(seed=5)
    for stage in ("stage1", "stage3"):
        told = {"stage": stage, "settings": {"teachers": {"kind": "photographs"}}}
        save_checkpoint(student, run / stage, provenance=told)
    calibration = json.dumps(UNCALIBRATED.model_dump(mode="json"))
    (run / "stage3" / CALIBRATION_NAME).write_text(calibration, encoding="utf-8")
    write_tokenizer(run / "stage3" / "tokenizer.json")
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
        (picture(*colour), [], {"split": split, "labels": [name]})
        for split in SPLITS
        for name, colour in (("red", RED), ("green", GREEN))
    ]
    large = (picture(width=200), [], {"split": "val", "labels": ["Tinca tinca"]})
    write_set(root / "colours", [*colours, large])
    return root
