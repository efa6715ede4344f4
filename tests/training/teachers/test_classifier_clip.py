from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.errors import TrainingError
from training.teachers.classifier_clip import (
    ClassifierClip,
    load_classifier_clip,
    pool_unpadded,
    save_classifier_clip,
)
from training.teachers.efficientnet_lite import lite2_state
from training.teachers.small import DenseClipTeacher
from training.teachers.text_teacher import ClassifierSpace

SIZES = {"embed_dim": 8, "resolution": 64, "hidden_dim": 16}


@pytest.fixture(scope="module")
def clip() -> ClassifierClip:
    torch.manual_seed(0)
    space = ClassifierSpace.of(lite2_state()["classifier.weight"], embed_dim=8)
    return ClassifierClip(space, resolution=64, hidden_dim=16)


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    small = torch.rand((2, 3, 4, 4), generator=generator) * 255
    return F.interpolate(small, size=(64, 64), mode="bilinear").to(torch.uint8)


@torch.no_grad()
def test_a_picture_is_what_the_classifier_pools(clip: ClassifierClip, images: Tensor) -> None:
    pooled = clip.backbone.forward_head(
        clip.backbone.forward_features((images.float() - 127) / 128), pre_logits=True
    )
    expected = F.normalize((pooled - clip.centre) @ clip.space.axes.T, dim=1)
    torch.testing.assert_close(clip.embed_images(images), expected)


@torch.no_grad()
def test_an_untrained_head_says_of_cells_what_the_classifier_does(
    clip: ClassifierClip, images: Tensor
) -> None:
    assert isinstance(clip, DenseClipTeacher)
    whole, cells = clip.embed_with_cells(images, torch.ones(2, 4, 4))
    features, maps = clip.see(images)
    assert [each.shape[-1] for each in (features, *maps)] == [2, 8, 4, 2]
    plain = torch.einsum("bfhw,ef->behw", features - clip.centre.view(-1, 1, 1), clip.space.axes)
    expected = F.normalize(F.interpolate(plain, size=(4, 4), mode="bilinear"), dim=1)
    torch.testing.assert_close(cells, expected)
    torch.testing.assert_close(whole, clip.embed_images(images))


def test_padding_is_not_pooled() -> None:
    features = torch.tensor([[[[1.0, 3.0], [100.0, 100.0]]]])
    mask = torch.zeros(1, 4, 4)
    mask[:, :2] = 1
    assert pool_unpadded(features, mask).tolist() == [[2.0]]
    mask[:, 2, 0] = 1  # one cell of the four that the third place holds
    assert pool_unpadded(features, mask).item() == pytest.approx((1 + 3 + 0.25 * 100) / 2.25)


def test_only_the_head_can_be_trained(clip: ClassifierClip) -> None:
    assert not any(each.requires_grad for each in clip.parameters())
    clip.train()
    try:
        assert clip.cells.training
        assert not any(each.training for each in clip.backbone.modules())
    finally:
        clip.eval()


@torch.no_grad()
def test_what_is_saved_comes_back_without_the_classifiers_weights(
    clip: ClassifierClip, images: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    clip.centre.fill_(0.25)
    clip.cells.outward.bias.fill_(0.1)
    save_classifier_clip(clip, path)
    assert path.stat().st_size < 200_000
    loaded = load_classifier_clip(path, **SIZES)
    for ours, theirs in zip(
        loaded.embed_with_cells(images, torch.ones(2, 4, 4)),
        clip.embed_with_cells(images, torch.ones(2, 4, 4)),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
    with pytest.raises(TrainingError, match="no CLIP teacher with 9 dimensions"):
        load_classifier_clip(path, **SIZES | {"embed_dim": 9})
    with pytest.raises(TrainingError, match="size mismatch"):
        load_classifier_clip(path, **SIZES | {"hidden_dim": 32})
