"""The proposal head: its places, how its answers are read, and that it can be exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from samclip_sdk.image.proposals import ANCHORS
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import MOBILE, ModelConfig, PyramidConfig
from samclip_sdk.modeling.proposal_head import (
    ProposalHead,
    anchor_centres,
    boxes_of,
    by_anchor,
)
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from tests.proposal_cases import PROPOSING, proposals_of
from tests.tiny_config import PYRAMID_STUDENT


@given(seed=st.integers(0, 999), height=st.integers(1, 4), width=st.integers(1, 4))
def test_reading_is_inverse_to_writing(seed: int, height: int, width: int) -> None:
    random = torch.Generator().manual_seed(seed)
    shape = (2, ANCHORS, height, width)
    centres = anchor_centres(height, width).permute(1, 2, 3, 0)
    away = torch.rand((*shape, 4), generator=random) * 500 + 0.5
    boxes = torch.cat([centres - away[..., :2], centres + away[..., 2:]], dim=-1)
    objectness = 3 * torch.randn(shape, generator=random)
    told = proposals_of(boxes, objectness)
    assert told.shape == (2, 30, height, width)
    found, scores = boxes_of(told)
    torch.testing.assert_close(found, boxes, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(scores, objectness.sigmoid())
    # In fp16 a side is still told to a part of 500, in steps of 1/16 to one of 30.
    halves, _ = boxes_of(told.half())
    assert ((halves - boxes).abs() <= away / 250 + 0.01).all()
    coarse, _ = boxes_of((16 * told).round() / 16)
    assert ((coarse - boxes).abs() <= away / 30 + 0.01).all()


def test_places_are_the_cells_of_their_stride() -> None:
    """In the order of `pixel_unshuffle`, as numpy reads them too."""
    image = anchor_centres(2, 3)
    fine = torch.nn.functional.pixel_unshuffle(
        torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")), 2
    )
    rows, columns = fine[:4], fine[4:]
    assert torch.equal(image[0, :4], 8 * columns + 4)
    assert torch.equal(image[1, :4], 8 * rows + 4)
    assert image[:, 4:, 1, 2].tolist() == [[40, 40], [24, 24]]
    proposals = torch.arange(30 * 6.0).view(1, 30, 2, 3)
    one = proposals[0].numpy()
    told = np.concatenate([one[:20].reshape(5, 4, 2, 3), one[20:].reshape(5, 2, 2, 3)], axis=1)
    np.testing.assert_array_equal(by_anchor(proposals)[0], told)


def test_a_step_of_its_place_moves_a_fine_box() -> None:
    head = ProposalHead(fine=8, fused=8)
    seen = torch.zeros(4, 8)

    def fine(x: Tensor) -> Tensor:
        return torch.zeros(1, 5, 4, 8) + seen

    head.leave_8.forward = fine  # type: ignore[method-assign]
    seen[3, 2] = 7.0
    out = head(torch.zeros(1, 8, 4, 8), torch.zeros(1, 8, 2, 4))
    assert out.shape == (1, 30, 2, 4)
    boxes, scores = boxes_of(out)
    where = scores[0, :4].argmax().item()
    left, top, right, bottom = boxes[0, :4].reshape(-1, 4)[where].tolist()
    assert ((left + right) / 2, (top + bottom) / 2) == (8 * 2 + 4, 8 * 3 + 4)


def test_at_first_nothing_is_a_thing() -> None:
    head = ProposalHead(fine=48, fused=256)
    boxes, scores = boxes_of(head(torch.randn(1, 48, 8, 8), torch.randn(1, 256, 4, 4)))
    assert scores.max() < 0.05
    sides = (boxes[..., 2:] - boxes[..., :2])[0, :, 0, 0, 0]
    assert sides.tolist() == pytest.approx([32, 32, 32, 32, 96, 320], rel=0.5)


def test_it_is_small() -> None:
    assert sum(each.numel() for each in ProposalHead(fine=48, fused=256).parameters()) <= 350_000


@torch.no_grad()
def test_the_encoder_answers_as_without_it() -> None:
    model = build_model(PROPOSING, seed=1)
    encoder = model.image_encoder
    assert isinstance(encoder, PyramidEncoder)
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    tokens, embeddings, proposals = encoder(image)
    assert proposals.shape == (2, 30, 4, 6)
    assert torch.equal(encoder.propose(image), proposals)
    encoder.proposal_head = None
    assert all(map(torch.equal, encoder(image), (tokens, embeddings)))


def test_a_frozen_encoder_gets_no_gradient() -> None:
    encoder = build_model(PROPOSING, seed=1).image_encoder
    assert isinstance(encoder, PyramidEncoder)
    encoder.requires_grad_(True)
    encoder.propose(torch.zeros(1, 3, 64, 64), frozen=True).sum().backward()
    names = [name for name, each in encoder.named_parameters() if each.grad is not None]
    assert names
    assert all(name.startswith("proposal_head.") for name in names)


def test_an_encoder_without_it_says_so() -> None:
    encoder = build_model(PYRAMID_STUDENT).image_encoder
    assert isinstance(encoder, PyramidEncoder)
    assert not any("proposal" in name for name in encoder.state_dict())
    with pytest.raises(ValueError, match=r"image_encoder\.proposals"):
        encoder.propose(torch.zeros(1, 3, 64, 64))


def test_the_config_tells_it_and_older_ones_have_none() -> None:
    assert isinstance(MOBILE.image_encoder, PyramidConfig)
    assert MOBILE.image_encoder.proposals
    told = MOBILE.model_dump(mode="json")
    assert ModelConfig.model_validate(told) == MOBILE
    del told["image_encoder"]["proposals"]
    older = ModelConfig.model_validate(told)
    assert isinstance(older.image_encoder, PyramidConfig)
    assert not older.image_encoder.proposals


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96)])
def test_it_is_exported_with_fixed_shapes(height: int, width: int) -> None:
    encoder = build_model(PROPOSING, seed=1).image_encoder
    assert isinstance(encoder, PyramidEncoder)
    folded = encoder.at_resolution(64)
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    program = torch.export.export(folded, (image,), strict=False)
    for node in program.graph.nodes:
        assert not any(word in str(node.target) for word in ("nonzero", "index_put", "item"))
    for found, wanted in zip(program.module()(image), encoder(image), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
