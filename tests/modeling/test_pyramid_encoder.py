from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, save_checkpoint
from samclip_sdk.modeling.config import PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from tests.batch_norms import batch_norms, draw_batch_norms
from tests.student import PYRAMID_STUDENT

BACKBONE = "test_efficientnet"  # timm's own smallest: 80,000 parameters
WIDTHS = (32, 48, 64)
OTHER_WIDTHS = {
    "test_resnet": (48, 192, 96),
    "tf_efficientnet_lite2": (48, 120, 352),
    "repvit_m1_1": (128, 256, 512),
    "fastvit_mci0": (128, 256, 512),
}


def new_encoder(backbone: str = BACKBONE, *, seed: int = 0) -> PyramidEncoder:
    """An encoder whose every parameter and statistic shows."""
    torch.manual_seed(seed)
    widths = OTHER_WIDTHS.get(backbone, WIDTHS)
    config = PyramidConfig(image_size_px=64, backbone=backbone, widths=widths, embed_dim=32)
    encoder = PyramidEncoder(config, out_chans=16).eval()
    draw_batch_norms(encoder, seed=seed)
    return encoder


def image(side: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("side", [32, 64, 96, 288])
def test_any_multiple_of_32_runs(side: int) -> None:
    tokens, embeddings = new_encoder()(image(side, batch=2))
    assert tokens.shape == (2, sum(WIDTHS), side // 16, side // 16)
    assert embeddings.shape == (2, 16, side // 16, side // 16)


def test_the_tokens_are_the_backbones_features() -> None:
    encoder = new_encoder()
    pixels = (image(64).float() - encoder.pixel_mean) / encoder.pixel_std
    fine, middle, coarse = encoder.backbone(pixels)[-3:]
    tokens, embeddings = encoder(image(64))
    averaged, same, repeated = tokens.split(WIDTHS, dim=1)
    assert torch.equal(averaged, F.avg_pool2d(fine, 2))
    assert torch.equal(same, middle)
    assert torch.equal(repeated, coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    assert torch.equal(encoder.neck(encoder.fuse(fine, middle, coarse)), embeddings)


def test_uint8_and_float_are_the_same_image() -> None:
    encoder = new_encoder()
    for ints, floats in zip(encoder(image(64)), encoder(image(64).float()), strict=True):
        assert torch.equal(ints, floats)


def test_the_backbone_sees_normalised_pixels() -> None:
    config = PyramidConfig(
        image_size_px=64,
        backbone=BACKBONE,
        widths=WIDTHS,
        pixel_mean=(1, 2, 3),
        pixel_std=(2, 4, 8),
    )
    encoder = PyramidEncoder(config, out_chans=16).eval()
    seen: list[Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.full((1, 3, 64, 64), 9, dtype=torch.uint8))
    assert seen[0][0, :, 5, 7].tolist() == [4, 1.75, 0.75]


def test_the_three_strides_meet_cell_by_cell() -> None:
    """Stride 8 keeps the place of each of its four cells, stride 32 is a bilinear map."""
    encoder = new_encoder()
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


def test_training_changes_no_batch_norm() -> None:
    """Whatever an optimiser is given, and however often `train` is called."""
    encoder = new_encoder().requires_grad_(True).train()
    norms = batch_norms(encoder)
    assert norms
    assert not any(norm.training for norm in norms)
    before = {
        name: tensor.clone()
        for name, tensor in encoder.state_dict().items()
        if name.startswith("backbone.") and ".bn" in name
    }
    assert any(name.endswith("bn1.weight") for name in before)
    first = next(encoder.backbone.parameters()).detach().clone()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    tokens, embeddings = encoder(image(64, batch=2))
    (tokens.square().mean() + embeddings.mean()).backward()
    optimizer.step()
    after = encoder.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not torch.equal(next(encoder.backbone.parameters()), first)


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for enable in (False, True):
        encoder = new_encoder().train()
        encoder.set_grad_checkpointing(enable)
        encoder(image(64))[1].square().mean().backward()
        gradients.append([each.grad.clone() for each in encoder.backbone.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", [BACKBONE, "test_resnet"])
def test_folding_keeps_the_answer(backbone: str) -> None:
    encoder = new_encoder(backbone)
    folded = encoder.at_resolution(96)
    assert batch_norms(encoder)
    assert not batch_norms(folded)
    with torch.inference_mode():
        for actual, expected in zip(folded(image(96)), encoder(image(96)), strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


def test_folding_leaves_the_encoder_alone() -> None:
    encoder = new_encoder()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.at_resolution(64)
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite2", "repvit_m1_1", "fastvit_mci0"])
def test_the_presets_backbones_fold(backbone: str) -> None:
    """Fastvit has a BatchNorm before an attention: its input is a convolution's, and a residual."""
    encoder = new_encoder(backbone)
    folded = encoder.at_resolution(96)
    assert not batch_norms(folded)
    with torch.inference_mode():
        for actual, expected in zip(folded(image(96)), encoder(image(96)), strict=True):
            assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_backbone_is_as_timm_draws_it() -> None:
    model = build_model(PYRAMID_STUDENT, seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = timm.create_model(BACKBONE, features_only=True).state_dict()
    own = model.image_encoder.backbone.state_dict()
    assert own.keys() == drawn.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in drawn.items())


def test_a_checkpoint_keeps_the_statistics(tmp_path: Path) -> None:
    model = build_model(PYRAMID_STUDENT)
    draw_batch_norms(model, seed=3)
    save_checkpoint(model, tmp_path, provenance={})
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == PYRAMID_STUDENT
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert "image_encoder.backbone.bn1.running_var" in model.state_dict()


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("efficientnet_lite9", "timm has no backbone 'efficientnet_lite9'"),
        ("hf-hub:timm/resnet18", "timm has no backbone 'hf-hub:timm/resnet18'"),
        (
            "resnet18",
            r"the backbone resnet18 has the widths \(128, 256, 512\) at strides 8, 16 and",
        ),
        ("test_vit", "the backbone test_vit has no features of stride 8, 32: its strides are 16"),
    ],
)
def test_a_backbone_that_does_not_fit(backbone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PyramidEncoder(PyramidConfig(backbone=backbone, widths=WIDTHS), out_chans=16)


def test_a_missing_timm_is_told() -> None:
    """And a model without a backbone of timm's needs none."""
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "from samclip_sdk.modeling.build import build_model\n"
        "from samclip_sdk.modeling.config import MOBILE\n"
        "from tests.student import STUDENT\n"
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


@pytest.mark.parametrize("inner", ["", "blocks", "blocks.2"])
def test_no_call_of_train_wakes_a_batch_norm(inner: str) -> None:
    """A stage whose multipliers name modules of the backbone called `train` around its owner."""
    encoder = new_encoder()
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    encoder.requires_grad_(True)
    encoder.backbone.get_submodule(inner).train()
    assert not any(norm.training for norm in batch_norms(encoder))
    encoder(image(64))
    after = dict(encoder.backbone.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
