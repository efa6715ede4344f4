from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.clip_head import pool_tokens


def letterboxed(grid: int, *, rows: int, columns: int) -> torch.Tensor:
    mask = torch.zeros(1, grid, grid)
    mask[:, :rows, :columns] = 1
    return mask


@pytest.mark.parametrize(("grid", "side"), [(4, 4), (8, 4), (6, 6)])
def test_shapes_and_norms(
    model: SamClipModel, generator: torch.Generator, grid: int, side: int
) -> None:
    # 8 tokens are those of 64 px, where the config pools 2x2.
    tokens = torch.randn(2, 32, grid, grid, generator=generator)
    patches, image = model.clip_head(tokens, torch.ones(2, grid, grid))
    assert patches.shape == (2, side * side, 16)
    assert image.shape == (2, 16)
    for embeddings in (patches, image):
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(embeddings.shape[:-1]))


@pytest.mark.parametrize("grid", [4, 8])
@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (4, 1), (1, 1)])
def test_padding_never_influences(
    model: SamClipModel, generator: torch.Generator, grid: int, rows: int, columns: int
) -> None:
    # Odd extents too: a 2x2 cell may hold image and padding.
    mask = letterboxed(grid, rows=rows, columns=columns)
    tokens = torch.randn(1, 32, grid, grid, generator=generator)
    padding = 10 * torch.randn(1, 32, grid, grid, generator=generator)
    other = torch.where(mask[:, None] == 1, tokens, padding)
    (patches, image), (other_patches, other_image) = (
        model.clip_head(each, mask) for each in (tokens, other)
    )
    _, seen = pool_tokens(tokens, mask, 2 if grid == 8 else 1)
    seen = seen.flatten(1) == 1
    assert torch.equal(image, other_image)
    assert torch.equal(patches[seen], other_patches[seen])
    # And the mask is what does it.
    everything = torch.ones_like(mask)
    assert not torch.allclose(
        model.clip_head(tokens, everything)[1], model.clip_head(other, everything)[1], atol=1e-4
    )


def test_one_patch_makes_the_image_its_own_embedding(
    model: SamClipModel, generator: torch.Generator
) -> None:
    tokens = torch.randn(1, 32, 4, 4, generator=generator)
    patches, image = model.clip_head(tokens, letterboxed(4, rows=1, columns=1))
    torch.testing.assert_close(patches[:, 0], image, rtol=0, atol=1e-6)


def test_pooling_averages_the_tokens_of_the_image() -> None:
    tokens = torch.arange(16.0).reshape(1, 1, 4, 4)
    pooled, mask = pool_tokens(tokens, letterboxed(4, rows=3, columns=4), 2)
    # The lower cells average their upper two tokens only.
    assert pooled[0, 0].tolist() == [[2.5, 4.5], [8.5, 10.5]]
    assert mask[0].tolist() == [[1, 1], [1, 1]]
    pooled, mask = pool_tokens(tokens, letterboxed(4, rows=2, columns=1), 2)
    assert pooled[0, 0].tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert mask[0].tolist() == [[1, 0], [0, 0]]
    assert pool_tokens(tokens, mask, 1)[0] is tokens


@pytest.mark.parametrize(("side", "grid"), [(64, 8), (32, 4), (40, 5), (96, 12)])
def test_baked_positions_equal_interpolated_ones(
    model: SamClipModel, generator: torch.Generator, side: int, grid: int
) -> None:
    tokens = torch.randn(1, 32, grid, grid, generator=generator)
    mask = letterboxed(grid, rows=grid - 1, columns=grid)
    baked = model.clip_head.at_resolution(side, patch_size=8)
    pooled = grid // 2 if side == 64 else grid
    assert baked.blocks[0].attn.rel_pos_h.shape == (2 * pooled - 1, 16)
    for actual, expected in zip(baked(tokens, mask), model.clip_head(tokens, mask), strict=True):
        assert torch.equal(actual, expected)
