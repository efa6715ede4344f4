"""A whole run of random weights: both teachers and the stages, as small as the data allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper.run import Inputs, open_inputs
from benchmarks.quality.drawings import load_drawings
from export.tokenizer import write_tokenizer
from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.tiny_config import STUDENT
from training.calibrate import CALIBRATION_NAME
from training.data_config import Pictures, Scenes
from training.loop_config import Optimisation
from training.stages.distill import DistillConfig
from training.stages.small_teachers import ClipTeacherConfig, SamTeacherConfig
from training.teachers.small import SmallSam, save_teacher
from training.teachers.teacher_pair import SETTINGS_NAME, WEIGHTS_NAME, SmallPair, new_clip

OPTIMISATION = Optimisation(
    steps=9, learning_rate=1e-3, multipliers={"clip_head": 1.0}, precision="fp32", workers=0
)
CLIP = ClipTeacherConfig(
    task="clip_teacher",
    optimisation=OPTIMISATION,
    pictures=Pictures(resolutions=(32,), pixels_per_batch=2048),
    image_tower="test_resnet",
    nouns=12,
)
SCENES = Scenes(resolution=64, batch=1, prompts=2, random_regions=1)
STAGE2 = DistillConfig(
    task="distill",
    optimisation=OPTIMISATION.model_copy(
        update={"multipliers": {"clip_head": 1.0, "image_encoder": 1.0, "mask_decoder": 0.3}}
    ),
    pictures=Pictures(resolutions=(64,), pixels_per_batch=8192),
    scenes=SCENES,
    region_weight=1.0,
    starts_from="stage1",
)


@pytest.fixture(scope="session")
def paper_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tiny"
    clip, sam = new_clip(STUDENT, CLIP), SmallSam(build_model(STUDENT, seed=3))
    sam_settings = SamTeacherConfig(task="sam_teacher", optimisation=OPTIMISATION, scenes=SCENES)
    for name, module, settings in (
        ("clip_teacher", clip, CLIP),
        ("sam_teacher", sam, sam_settings),
    ):
        (run / name).mkdir(parents=True)
        save_teacher(module, run / name / WEIGHTS_NAME)
        text = settings.model_dump_json()
        (run / name / SETTINGS_NAME).write_text(text, encoding="utf-8")
    stage1 = SmallPair(STUDENT, CLIP, runs=run).stage0(seed=5)
    provenance: dict[str, Any] = {"stage": "stage1"}
    save_checkpoint(stage1, run / "stage1", provenance=provenance)
    for stage, seed in (("stage2", 6), ("stage3", 7)):
        student = build_model(STUDENT, seed=seed)
        student.text_encoder.load_state_dict(clip.text_encoder.state_dict())
        settings = STAGE2.model_dump(mode="json")
        provenance = {"stage": stage, "settings": settings, "starts_from": provenance}
        save_checkpoint(student, run / stage, provenance=provenance)
    calibration = json.dumps(UNCALIBRATED.model_dump(mode="json"))
    (run / "stage3" / CALIBRATION_NAME).write_text(calibration, encoding="utf-8")
    write_tokenizer(run / "stage3" / "tokenizer.json")
    return run


@pytest.fixture(scope="session")
def inputs(paper_run: Path) -> Inputs:
    (heldout, *_), _ = load_drawings(nouns=12, pictures=3, scenes=2, size_px=64, seed=0)
    return open_inputs(paper_run, heldout, students=("stage2", "stage3"), steps=2, seed=0)
