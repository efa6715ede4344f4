"""What is exported of the prompt encoder says the same, in fewer steps."""

from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.prompt_encoder import CellDownscaling


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (8, 32), (24, 16)])
def test_a_mask_becomes_cells_in_one_step(model: SamClipModel, size: tuple[int, int]) -> None:
    encoder = model.prompt_encoder
    for parameter in encoder.mask_downscaling.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    baked = encoder.at_cells()
    assert isinstance(baked.mask_downscaling, CellDownscaling)
    mask = 10 * torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    feed = torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.int32), mask, torch.ones(2)
    for ours, theirs in zip(baked(*feed), encoder(*feed), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    baked.mask_downscaling.cells.bias += 1  # a copy's own answer is seen
    assert not torch.allclose(baked(*feed)[2], encoder(*feed)[2])
