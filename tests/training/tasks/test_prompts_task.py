"""The joint training of what answers prompts alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samclip_sdk.modeling.build import build_model
from tests.tiny_config import PYRAMID_STUDENT
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from training.data_config import JointPhotographs
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs
from training.tasks.prompts import PromptsTask

SIZE = 64


@pytest.fixture
def task(tmp_path: Path) -> PromptsTask:
    pixels = np.full((96, 128, 3), 120, np.uint8)
    mask = rectangle(20, 20, 80, 70)
    pixels[mask] = (220, 30, 30)
    write_set(tmp_path / "toys", [(encode(pixels), [annotation(1, mask)], {})] * 4)
    config = JointPhotographs(
        source="photographs",
        root=tmp_path,
        resolution=SIZE,
        late_resolution=SIZE,
        batch=4,
        prompts=1,
        labels=1,
    )
    return PromptsTask(
        build_model(PYRAMID_STUDENT, seed=1),
        JointBatches(Photographs(config, split="train"), config, seed=0),
        names=F.normalize(torch.randn(5, 16), dim=1),
        kin=torch.eye(5, dtype=torch.bool),
        validation=None,
    )


def test_features_and_names_stay(task: PromptsTask) -> None:
    task(task.dataset[0], loss="prompts", step=0).backward()
    assert {*task.details()} == {"joint/presence", "joint/prompts", "joint/labels"}
    for name, part in task.parts.items():
        learns = any(p.grad is not None and p.grad.any() for p in part.parameters())
        assert learns == (name in ("prompt_encoder", "mask_decoder", "presence")), name


def test_the_result_is_a_mean_of_before_and_after(task: PromptsTask) -> None:
    decoder = task.student.mask_decoder
    before = [each.detach().clone() for each in decoder.parameters()]
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1.0)
    task.mix(0.25)
    for mine, was in zip(decoder.parameters(), before, strict=True):
        torch.testing.assert_close(mine, was + 0.25)
