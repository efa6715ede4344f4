"""Teachers and students of runs, behind the public API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.teachers import find_pair, find_student, open_teachers
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import ModelConfig
from tests.benchmarks.paper.photograph_run import CLIP
from tests.refusals import refused
from tests.tiny_config import STUDENT
from training.errors import TrainingError
from training.teachers.small import SmallClip, SmallSam
from training.teachers.teacher_pair import FoundationPair, SmallPair

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_the_sam_teacher_is_itself_behind_the_api(tiny_config: ModelConfig) -> None:
    sam = SmallSam(build_model(tiny_config, seed=3)).eval()
    pair: Any = SmallPair(tiny_config, CLIP, runs=Path("runs"))
    pair.sam = sam  # as if they had been loaded
    pair.clip = SmallClip(tiny_config, image_tower="resnet10t", resolution=32).eval()
    found = open_teachers(pair).sam.segment(IMAGE, boxes=[8, 8, 40, 50], multimask_output=True)
    with torch.inference_mode():
        embeddings = sam.encode(torch.from_numpy(IMAGE).permute(2, 0, 1)[None])
        corners = torch.tensor([[[8.0, 8.0], [40.0, 50.0]]])
        masks, iou = sam.decode(embeddings, corners, torch.tensor([[2, 3]]), None)
    np.testing.assert_allclose(found.low_res_masks, masks[0, 1:].numpy(), atol=1e-4)
    np.testing.assert_allclose(found.scores, iou[0, 1:].numpy(), atol=1e-4)


def test_a_run_of_foundation_teachers(tmp_path: Path, tiny_config: ModelConfig) -> None:
    """As vit_b's: its teachers are no folders of the run."""
    model, sam = build_model(tiny_config), str(tmp_path / "sam.pth")
    clip = {"clip": "ViT-B-16", "pretrained": "datacomp_xl_s13b_b90k"}
    teachers = {"kind": "foundation", **clip, "sam": "vit_b", "sam_checkpoint": sam}
    told: dict[str, Any] = {"stage": "stage1", "settings": {"teachers": teachers}}
    save_checkpoint(model, tmp_path / "vit_b" / "stage1", provenance=told)
    told = {"stage": "stage2", "settings": {"teachers": teachers}, "starts_from": told}
    save_checkpoint(model, tmp_path / "vit_b" / "stage2", provenance=told)
    run = tmp_path / "vit_b"
    assert find_student(run).name == "stage2"
    pair = find_pair(run / "stage2")
    assert isinstance(pair, FoundationPair)
    assert str(pair.teachers.sam_checkpoint) == sam


def test_runs_without_a_student(tmp_path: Path) -> None:
    refused(lambda: find_student(tmp_path), TrainingError, tmp_path)
    save_checkpoint(build_model(STUDENT), tmp_path / "stage1", provenance={"stage": "stage1"})
    refused(lambda: find_pair(tmp_path / "stage1"), TrainingError, tmp_path / "stage1")
