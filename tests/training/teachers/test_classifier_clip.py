from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.modeling.config import MOBILE, ClassifierHeadConfig
from tests.tiny_config import STUDENT
from training.errors import TrainingError
from training.teachers.classifier_clip import (
    ClassifierClip,
    load_classifier_clip,
    save_classifier_clip,
)
from training.teachers.small import DenseClipTeacher

MODEL = MOBILE.model_copy(
    update={
        "embed_dim": 8,
        "clip_head": ClassifierHeadConfig(features=1280, hidden_dim=16, mlp_dim=16),
    }
)


@pytest.fixture(scope="module")
def clip() -> ClassifierClip:
    torch.manual_seed(0)
    return ClassifierClip(MODEL, resolution=64)


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    small = torch.rand((2, 3, 4, 4), generator=generator) * 255
    return F.interpolate(small, size=(64, 64), mode="bilinear").to(torch.uint8)


@torch.no_grad()
def test_pictures_and_cells_are_unit_vectors(clip: ClassifierClip, images: Tensor) -> None:
    assert isinstance(clip, DenseClipTeacher)
    whole, cells = clip.embed_with_cells(images, torch.ones(2, 4, 4))
    assert cells.shape == (2, 8, 4, 4)
    torch.testing.assert_close(clip.embed_images(images), whole)
    for each in (whole, cells):
        torch.testing.assert_close(each.norm(dim=1), torch.ones_like(each[:, 0]))


@torch.no_grad()
def test_what_is_saved_comes_back_without_the_backbones_weights(
    clip: ClassifierClip, images: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    clip.head.cells.outward.bias.fill_(0.1)
    save_classifier_clip(clip, path)
    assert path.stat().st_size < 2_500_000
    loaded = load_classifier_clip(path, model=MODEL, resolution=64)
    for ours, theirs in zip(
        loaded.embed_with_cells(images, torch.ones(2, 4, 4)),
        clip.embed_with_cells(images, torch.ones(2, 4, 4)),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
    wider = MODEL.model_copy(update={"embed_dim": 9})
    with pytest.raises(TrainingError, match="size mismatch"):
        load_classifier_clip(path, model=wider, resolution=64)


def test_another_kind_of_head_is_refused() -> None:
    with pytest.raises(TrainingError, match="the CLIP head of student-test is of no classifier"):
        ClassifierClip(STUDENT, resolution=64)
