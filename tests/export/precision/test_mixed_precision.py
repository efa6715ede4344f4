"""The rewrite to fp16: what is pinned stays exactly as it was, and nothing falls between."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from export.precision.mixed_precision import (
    contract_operations,
    halve,
    operations,
)
from export.precision.program_interpreter import ProgramModule
from tests.export.tiny_programs import tiny_graphs, tiny_program
from tests.graph_feeds import draw_feed

pytestmark = pytest.mark.slow

NAMES = ("image_encoder@64", "clip_head@64", "text_encoder", "prompt_encoder", "mask_decoder")
COORDINATES = {
    ":add",
    ":div",
    *(f"pe_layer:{name}" for name in ("mul", "sub", "add", "sin", "cos")),
}
NORMALISATION = {":linalg_vector_norm", ":clamp_min", ":div"}
CONTRACT = {
    "image_encoder@64": {":sub"},
    "clip_head@64": NORMALISATION,
    "text_encoder": NORMALISATION,
    "prompt_encoder": COORDINATES,
    "mask_decoder": set(),  # its positions depend on no input, and are baked in fp32
}


def inputs_of(name: str, *, many: int = 3) -> list[Tensor]:
    """Plausible inputs of a graph; `many` prompts or texts."""
    lengths = {"num_texts": many, "num_prompts": many, "num_points": many + 1}
    feed = draw_feed(tiny_graphs()[name].inputs, seed=many, **lengths)
    return [torch.from_numpy(each) for each in feed.values()]


@functools.cache
def in_half(program: ExportedProgram) -> ExportedProgram:
    """All that the contract leaves, made once for all tests."""
    return halve(program, pinned=contract_operations(program))


@functools.cache
def module_of(program: ExportedProgram) -> nn.Module:
    return program.module()


def run(program: ExportedProgram, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Eager torch, as the operators come."""
    with torch.no_grad():
        answer = module_of(program)(*inputs)
    return answer if isinstance(answer, tuple) else (answer,)


def dtypes(nodes: list[Node]) -> set[torch.dtype]:
    values = tree_leaves([node.meta.get("val") for node in nodes])
    return {v.dtype for v in values if isinstance(v, Tensor) and v.is_floating_point()}


def drawn_pins(program: ExportedProgram, *, seed: int) -> set[str]:
    """About half of the operations."""
    names = list(operations(program))
    chosen = np.random.default_rng(seed).random(len(names)) < 0.5
    return {name for name, pinned in zip(names, chosen, strict=True) if pinned}


@pytest.mark.parametrize("name", NAMES)
def test_all_pinned_is_bit_identical(name: str) -> None:
    program = tiny_program(name)
    same = halve(program, pinned=operations(program).keys())
    inputs = inputs_of(name)
    for found, wanted in zip(run(same, inputs), run(program, inputs), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_contract_is_what_the_design_says(name: str) -> None:
    assert contract_operations(tiny_program(name)) == CONTRACT[name]


@pytest.mark.parametrize("many", [1, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_half_is_close_at_any_length(name: str, many: int) -> None:
    program, inputs = tiny_program(name), inputs_of(name, many=many)
    half = in_half(program)
    for found, wanted in zip(run(half, inputs), run(program, inputs), strict=True):
        assert found.dtype == torch.float32
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1e-2 * wanted.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_interpreter_is_eager_fp16(name: str) -> None:
    program, inputs = tiny_program(name), inputs_of(name)
    half = in_half(program)
    for found, wanted in zip(ProgramModule(half)(*inputs), run(half, inputs), strict=True):
        assert (found - wanted).abs().max() <= 2e-3 * wanted.abs().max()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_in_one_precision(name: str, seed: int) -> None:
    program = tiny_program(name)
    pinned = drawn_pins(program, seed=seed)
    half = halve(program, pinned=pinned)
    found = operations(half)
    assert list(found) == list(operations(program))
    for operation, nodes in found.items():
        wanted = torch.float32 if operation in pinned else torch.float16
        for node in nodes:
            assert dtypes([node, *node.all_input_nodes]) == {wanted}, node.format_node()
    assert dtypes(half.graph.output_node().all_input_nodes) == {torch.float32}


def test_constants_are_computed_in_fp32() -> None:
    """The decoder's positions: rounded once, after the sines."""
    model = tiny_program("mask_decoder")
    half = halve(model, pinned=frozenset())
    assert not any(node.target is torch.ops.aten.sin.default for node in half.graph.nodes)
    (table,) = (t for name, t in half.state_dict.items() if t.shape == (1, 64, 32))
    assert table.dtype == torch.float16
    matrix = model.state_dict["pe_layer.positional_encoding_gaussian_matrix"]
    centres = 2 * ((torch.arange(8) + 0.5) / 8) - 1
    phase = 2 * torch.pi * (centres[3] * matrix[0] + centres[2] * matrix[1])
    torch.testing.assert_close(table[0, 2 * 8 + 3, :16].float(), phase.sin(), atol=5e-4, rtol=0)
