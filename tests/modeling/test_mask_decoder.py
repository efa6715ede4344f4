"""A prompt's masks depend on the prompt alone: not on K, not on P, not on its neighbours."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import MaskDecoderConfig
from samclip_sdk.modeling.mask_decoder import LocalBlock, MaskDecoder, in_rows

GRID, SIDE = 8, 32

kinds = st.lists(st.sampled_from([-1, 0, 1, 2, 3]), max_size=5)
prompts = st.lists(st.tuples(kinds, st.booleans()), min_size=1, max_size=5)


def feed(asked: list[tuple[list[int], bool]], *, slots: int, seed: int) -> tuple[Tensor, ...]:
    """Inputs of K prompts; a prompt's numbers depend on its place in `asked` alone."""
    coords = torch.full((len(asked), slots, 2), 1e4)
    labels = torch.full((len(asked), slots), -2, dtype=torch.int32)
    masks = torch.full((len(asked), 1, SIDE, SIDE), torch.nan)
    for row, (kind, has_mask) in enumerate(asked):
        generator = torch.Generator().manual_seed(seed + row)
        coords[row, : len(kind)] = 64 * torch.rand(len(kind), 2, generator=generator)
        labels[row, : len(kind)] = torch.tensor(kind, dtype=torch.int32)
        if has_mask:
            masks[row] = 5 * torch.randn(1, SIDE, SIDE, generator=generator)
    return coords, labels, masks, torch.tensor([float(has_mask) for _, has_mask in asked])


def decode(model: SamClipModel, image: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    return model.mask_decoder(image, *model.prompt_encoder(*inputs))


def assert_close(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@given(asked=prompts, filler=st.integers(0, 11))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_prompt_is_answered_on_its_own(
    model: SamClipModel, asked: list[tuple[list[int], bool]], filler: int
) -> None:
    image = torch.randn(1, 32, GRID, GRID, generator=torch.Generator().manual_seed(9))
    together = decode(model, image, feed(asked, slots=5 + filler, seed=1))
    for row, (kind, has_mask) in enumerate(asked):
        alone = decode(model, image, feed([(kind, has_mask)], slots=len(kind), seed=1 + row))
        assert_close(tuple(part[row : row + 1] for part in together), alone)


def test_an_image_for_each_prompt(model: SamClipModel, generator: torch.Generator) -> None:
    # What training does: K images with one prompt each.
    images = torch.randn(2, 32, GRID, GRID, generator=generator)
    inputs = feed([([1, -1], False), ([2, 3], True)], slots=2, seed=0)
    both = decode(model, images, inputs)
    for row in range(2):
        one = tuple(part[row : row + 1] for part in inputs)
        assert_close(
            tuple(part[row : row + 1] for part in both), decode(model, images[row : row + 1], one)
        )


def test_a_local_block_starts_as_no_change() -> None:
    x = torch.randn(2, GRID * GRID, 32)
    assert torch.equal(LocalBlock(32)(x, size=torch.Size([GRID, GRID])), x)


def test_a_token_looks_at_those_around_it_in_its_own_map() -> None:
    block = LocalBlock(16)
    torch.nn.init.normal_(block.lin2.weight)
    size = torch.Size([GRID, GRID + 1])
    x = torch.randn(2, size.numel(), 16)
    moved = x.clone()
    moved[1, 2 * (GRID + 1) + 5] += 1  # the cell in row 2, column 5, of the second
    changed = (block(moved, size=size) != block(x, size=size)).any(dim=2).view(2, *size)
    expected = torch.zeros(2, *size, dtype=torch.bool)
    expected[1, :6, 2:] = True
    assert torch.equal(changed, expected)


@torch.no_grad()
def test_finer_features_enter_the_upscaling_as_in_sam_2() -> None:
    """Against `output_upscaling` as it is written, with a feature map added after each layer."""
    torch.manual_seed(0)
    decoder = MaskDecoder(MaskDecoderConfig(embed_dim=32, num_heads=4, high_resolution=True))
    keys, finer = torch.randn(3, GRID**2, 32), torch.randn(1, 96, GRID, GRID)
    stride_8 = _spread_out(finer[:, :32])
    stride_4 = _spread_out(F.pixel_shuffle(finer[:, 32:], 2))
    first, norm, activation, second, last = decoder.output_upscaling
    x = keys.transpose(1, 2).reshape(3, 32, GRID, GRID)
    x = last(second(activation(norm(first(x) + stride_8))) + stride_4)
    upscaled = in_rows(decoder._upscale(keys, finer).transpose(1, 2), columns=GRID)
    torch.testing.assert_close(upscaled.view_as(x), x, atol=1e-5, rtol=1e-5)


def _spread_out(four: Tensor) -> Tensor:
    """Maps [1,4c,s,s], of each cell the upper two, then the lower two, to [1,c,2s,2s]."""
    _, channels, side, _ = four.shape
    cells = four.reshape(1, 2, 2, channels // 4, side, side).permute(0, 3, 4, 1, 5, 2)
    return cells.reshape(1, channels // 4, 2 * side, 2 * side)


def test_the_single_mask_is_the_best_of_the_three_as_in_sam_2(
    model: SamClipModel, generator: torch.Generator
) -> None:
    image = torch.randn(1, 32, GRID, GRID, generator=generator)
    asked = model.prompt_encoder(*feed([([1], False), ([2, 3], True)], slots=3, seed=1))
    config = model.config.mask_decoder
    dynamic = MaskDecoder(config.model_copy(update={"dynamic_multimask": True})).eval()
    dynamic.load_state_dict(model.mask_decoder.state_dict())
    bias = dynamic.iou_prediction_head.layers[-1].bias
    for best in (1, 2, 3):
        with torch.no_grad():
            bias.copy_(9 * torch.eye(4)[best])
            masks, ious = dynamic(image, *asked)
        assert_close((masks[:, 0], ious[:, 0]), (masks[:, best], ious[:, best]))
    with torch.no_grad():
        raw = dynamic.train()(image, *asked)[0]
        own = model.mask_decoder(image, *asked)[0]
    assert_close((raw,), (own,))
    assert_close((masks[:, 1:],), (own[:, 1:],))
