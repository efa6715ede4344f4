from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel

MEMORY_BOUND_BYTES = 1_500_000_000
FORWARD_AT_1024 = """
import re
from pathlib import Path
import torch
from samclip_sdk.modeling.clip_head import ClipHead
from samclip_sdk.modeling.config import VIT_B
from samclip_sdk.modeling.vit_det_encoder import ViTDetEncoder

encoder = ViTDetEncoder(VIT_B.image_encoder, out_chans=VIT_B.mask_decoder.embed_dim).eval()
head = ClipHead(VIT_B.image_encoder, VIT_B.clip_head, embed_dim=VIT_B.embed_dim).eval()
with torch.inference_mode():
    tokens, _ = encoder(torch.zeros(1, 3, 1024, 1024, dtype=torch.uint8))
    head(tokens, torch.ones(1, 64, 64))
# Not getrusage: its peak survives an exec, so it would be the test runner's own.
status = Path("/proc/self/status").read_text()
print(1024 * int(re.search("VmHWM:\\s+(\\d+) kB", status).group(1)))
"""


def images(count: int, side: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("side", [64, 32, 40, 96])
def test_baked_positions_equal_interpolated_ones(
    model: SamClipModel, generator: torch.Generator, side: int
) -> None:
    image = images(1, side, generator)
    baked = model.image_encoder.at_resolution(side)
    grid = side // 8
    assert baked.pos_embed.shape == (1, grid, grid, 32)
    assert baked.blocks[0].attn.rel_pos_h.shape == (5, 16), "a window's table is untouched"
    assert baked.blocks[1].attn.rel_pos_h.shape == (2 * grid - 1, 16)
    for actual, expected in zip(baked(image), model.image_encoder(image), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.slow
def test_memory_of_vit_b_at_1024() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORWARD_AT_1024], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < MEMORY_BOUND_BYTES
