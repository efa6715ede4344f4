from __future__ import annotations

from pathlib import Path

import pytest
import timm
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
from training.teachers.efficientnet_lite import LITE2, lite2_state
from training.teachers.small import DenseClipTeacher
from training.teachers.text_teacher import ClassifierSpace

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
def test_a_picture_is_what_the_classifier_pools(clip: ClassifierClip, images: Tensor) -> None:
    classifier = timm.create_model(LITE2).eval()
    classifier.load_state_dict(lite2_state(), strict=False)
    pixels = (images.float() - 127) / 128
    tokens, mask = clip.see(images), torch.ones(2, 4, 4)
    torch.testing.assert_close(
        clip.classes(tokens, mask), classifier(pixels).softmax(dim=1), rtol=1e-3, atol=1e-5
    )
    pooled = classifier.forward_head(classifier.forward_features(pixels), pre_logits=True)
    space = ClassifierSpace.of(lite2_state()["classifier.weight"], embed_dim=8)
    centre = pooled.mean(dim=0) / 2
    clip.start_in(space, centre=centre)
    assert isinstance(clip, DenseClipTeacher)
    whole, cells = clip.embed_with_cells(images, mask)
    torch.testing.assert_close(whole, space(pooled - centre), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(clip.embed_images(images), whole)
    assert cells.shape == (2, 8, 4, 4)


def test_nothing_learns_unless_a_task_says_so(clip: ClassifierClip) -> None:
    assert not any(each.requires_grad for each in clip.parameters())
    clip.train()
    try:
        assert clip.head.training
        assert not any(each.training for each in clip.backbone.modules())
    finally:
        clip.eval()


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
