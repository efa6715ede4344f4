from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.classifier_head import ClassifierHead, PlaneCellHead, pool_unpadded
from tests.tiny_config import PYRAMID_STUDENT

WIDTHS = PYRAMID_STUDENT.image_encoder.widths


@pytest.fixture
def head() -> ClassifierHead:
    head = build_model(PYRAMID_STUDENT, seed=2).clip_head
    assert isinstance(head, ClassifierHead)
    return head


def tokens(rows: int, columns: int | None = None, *, seed: int = 0) -> torch.Tensor:
    """As an encoder joins them: the coarse ones are repeated."""
    columns = columns or rows
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(2, WIDTHS[0] + WIDTHS[1], rows, columns, generator=generator)
    coarse = torch.randn(2, WIDTHS[2], rows // 2, columns // 2, generator=generator)
    return torch.cat([fine, F.interpolate(coarse, scale_factor=2.0, mode="nearest")], dim=1)


@torch.no_grad()
def test_an_untrained_head_says_of_patches_what_the_classifier_sees_there(
    head: ClassifierHead,
) -> None:
    x = tokens(4)
    coarse = x[:, -WIDTHS[2] :, ::2, ::2]
    features = head.expand(coarse).clamp(0, 6)
    patches, image = head(x, torch.ones(2, 4, 4))
    torch.testing.assert_close(image, F.normalize(head.project(features).mean(dim=(2, 3)), dim=1))
    plain = F.interpolate(head.project(features), size=(4, 4), mode="bilinear")
    expected = F.normalize(plain, dim=1).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches, expected)


@torch.no_grad()
def test_a_correction_hears_what_is_around(head: ClassifierHead) -> None:
    torch.nn.init.normal_(head.cells.outward.weight)
    x = tokens(8)
    changed = x.clone()
    changed[:, 0, 0, 0] += 50
    mask = torch.ones(2, 8, 8)
    moved = (head(changed, mask)[0] - head(x, mask)[0]).abs().amax(dim=(0, 2)).view(8, 8)
    assert moved[0, 0] > moved[3, 3] > 0


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (4, 8), (8, 6)])
def test_what_is_exported_says_the_same(head: ClassifierHead, size: tuple[int, int]) -> None:
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    baked = head.at_resolution(128, patch_size=16)
    assert isinstance(baked.cells, PlaneCellHead)
    x, mask = tokens(*size), torch.ones(2, *size)
    torch.testing.assert_close(baked(x, mask), head(x, mask))
    baked.cells.outward.bias += 1  # a copy's own answer is seen
    assert not torch.allclose(baked(x, mask)[0], head(x, mask)[0])


@torch.no_grad()
def test_padding_changes_no_image(head: ClassifierHead) -> None:
    x, other = tokens(4), tokens(4, seed=1)
    mask = torch.ones(2, 4, 4)
    mask[:, 2:] = 0
    padded = torch.cat([x[:, :, :2], other[:, :, 2:]], dim=2)
    torch.testing.assert_close(head(x, mask)[1], head(padded, mask)[1])
    assert not torch.allclose(head(x, mask)[1], head(x, torch.ones(2, 4, 4))[1])


def test_padding_is_not_pooled() -> None:
    features = torch.tensor([[[[1.0, 3.0], [100.0, 100.0]]]])
    mask = torch.zeros(1, 4, 4)
    mask[:, :2] = 1
    assert pool_unpadded(features, mask).tolist() == [[2.0]]
    mask[:, 2, 0] = 1  # one cell of the four that the third place holds
    assert pool_unpadded(features, mask).item() == pytest.approx((1 + 3 + 0.25 * 100) / 2.25)
