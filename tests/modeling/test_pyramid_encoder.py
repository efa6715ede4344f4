from __future__ import annotations

import subprocess
import sys

import torch
from torch.nn import functional as F

from samclip_sdk.modeling.config import PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from tests.modeling.test_encoders_with_batch_norms import image, new_encoder

BACKBONE = "test_efficientnet"  # timm's own smallest: 80,000 parameters
WIDTHS = (32, 48, 64)


def test_the_tokens_are_the_backbones_features() -> None:
    encoder = new_encoder(BACKBONE)
    pixels = (image(64).float() - encoder.pixel_mean) / encoder.pixel_std
    fine, middle, coarse = encoder.backbone(pixels)[-3:]
    tokens, embeddings = encoder(image(64))
    averaged, same, repeated = tokens.split(WIDTHS, dim=1)
    assert torch.equal(averaged, F.avg_pool2d(fine, 2))
    assert torch.equal(same, middle)
    assert torch.equal(repeated, coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    assert torch.equal(encoder.neck(encoder.fuse(fine, middle, coarse)), embeddings)


def test_the_three_strides_meet_cell_by_cell() -> None:
    """Stride 8 keeps the place of each of its four cells, stride 32 is a bilinear map."""
    encoder = new_encoder(BACKBONE)
    with torch.no_grad():
        for name in ("lateral_8", "lateral_16", "lateral_32"):
            lateral = getattr(encoder, name)
            lateral.weight.zero_()
            lateral.bias.zero_()
        encoder.mix[3].weight.zero_()
        encoder.mix[3].bias.zero_()
        encoder.lateral_8.weight[0, 0] = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
        encoder.lateral_16.weight[0, 0, 0, 0] = 1
        encoder.lateral_32.weight[0, 0, 0, 0] = 1
        channels = [encoder.lateral_8, encoder.lateral_16, encoder.lateral_32]
        fine, middle, coarse = (
            torch.zeros(1, each.in_channels, side, side)
            for each, side in zip(channels, (8, 4, 2), strict=True)
        )
        fine[0, 0, :2, 2:4] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        middle[0, 0, 3, 0] = 7
        coarse[0, 0, 1, 1] = 16
        tokens = encoder.fuse(fine, middle, coarse)
    # Two cells become four: their centres lie a quarter of the way in.
    assert tokens[0, 0].tolist() == [
        [0, 4321, 0, 0],
        [0, 1, 3, 4],
        [0, 3, 9, 12],
        [7, 4, 12, 16],
    ]
    assert not tokens[0, 1:].any()


def test_a_missing_timm_is_told() -> None:
    """And a model without a backbone of timm's needs none."""
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "from samclip_sdk.modeling.build import build_model\n"
        "from samclip_sdk.modeling.config import MOBILE\n"
        "from tests.tiny_config import STUDENT\n"
        "build_model(STUDENT)\n"
        "build_model(MOBILE)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("samclip_sdk.errors.RuntimeMissingError: timm cannot be imported")
    assert last.endswith('pip install "samclip-sdk[torch]"')


def test_finer_features_lie_behind_the_embeddings() -> None:
    """A pixel of stride 4 or 8 moves its own four channels' cell, and nothing of the others."""
    torch.manual_seed(0)
    config = PyramidConfig(image_size_px=64, backbone=BACKBONE, widths=WIDTHS, embed_dim=32)
    encoder = PyramidEncoder(config, out_chans=16, high_resolution=True).eval()
    plain = encoder(image(64))[1]
    assert plain.shape == (1, 4 * 16, 4, 4)
    assert not plain[:, 16:].any(), "they begin as no change"
    finer = encoder.high_resolution
    assert finer is not None
    for parameter in finer.parameters():
        torch.nn.init.normal_(parameter)
    finest, fine = (
        torch.zeros(1, finer.stride_4.in_channels, 16, 16),
        torch.zeros(1, WIDTHS[0], 8, 8),
    )
    before = finer(finest, fine)
    fine[:, :, 5, 2] = 1
    moved = (finer(finest, fine) - before).abs().amax(dim=(0, 1))
    assert moved.nonzero().tolist() == [[2, 1]]
    assert not (finer(finest, fine) - before)[:, 16:].any()
    finest[:, :, 13, 6] = 1
    assert (finer(finest, fine) - before)[:, 16:].abs().amax(dim=(0, 1)).nonzero().tolist() == [
        [3, 1]
    ]
