"""The plan finds what was planted, pins no more than that, and says why when nothing helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from export.graphs import Graph, build_graphs
from export.parity import BOUNDS
from export.precision.mixed_precision import contract_operations, halve, operations
from export.precision.plan import (
    FP16_MAX,
    Accept,
    NumericGate,
    measure_ranges,
    plan_precision,
)
from export.precision.program_interpreter import run_program
from export.probes import Probe
from export.program import export_program
from samclip_sdk.modeling.build import build_model
from tests.export.tiny_programs import tiny_graphs, tiny_program
from tests.tiny_config import TINY

ENCODER = "image_encoder@64"


def probes_of(graph: Graph) -> list[Probe]:
    rng = np.random.default_rng(5)
    feeds = [{"image": rng.integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)} for _ in range(2)]
    return [Probe(feed, graph.reference(feed)) for feed in feeds]


def gate_of(graph: Graph, probes: list[Probe]) -> NumericGate:
    return NumericGate(graph, probes=probes, bounds=BOUNDS["fp16"], random_weights=True)


def small_program(module: nn.Module, *, width: int) -> ExportedProgram:
    module = module.eval().requires_grad_(False)
    return export_program(module, example={"x": torch.zeros(4, width)}, dynamic_axes={})


def in_half(program: ExportedProgram) -> set[str]:
    """The operations of a program that compute in fp16."""
    return {
        name
        for name, nodes in operations(program).items()
        if {v.dtype for v in tree_leaves(nodes[0].meta["val"])} == {torch.float16}
    }


def needs(*wanted: str) -> Accept:
    """A judge that wants those operations in fp32."""

    def accept(program: ExportedProgram) -> str | None:
        missing = sorted(set(wanted) & in_half(program))
        return f"quality is 0.1, its bound 0.9 ({len(missing)})" if missing else None

    return accept


class Chain(nn.Module):
    """Eight layers, to search among; none is in the contract."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


CHAIN_FEEDS = [{"x": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}]


@pytest.fixture(scope="module")
def chain() -> ExportedProgram:
    return small_program(Chain(), width=8)


@pytest.fixture(scope="module")
def planted() -> Graph:
    """The sound model's function, nearly, but for a hidden layer far beyond fp16."""
    model = build_model(TINY, seed=1)
    mlp = model.image_encoder.blocks[1].mlp
    with torch.no_grad():
        for each in (mlp.lin1.weight, mlp.lin1.bias):
            each.mul_(1e6)
        mlp.lin2.weight.div_(1e6)
    return next(g for g in build_graphs(model, resolutions=(32, 64)) if g.name == ENCODER)


def test_planted_overflow_is_found(planted: Graph) -> None:
    program, probes = planted.trace(), probes_of(planted)
    gate = gate_of(planted, probes)
    refusal = gate(halve(program, pinned=contract_operations(program)))
    assert refusal is not None
    assert "max_error/image_tokens is inf" in refusal
    pins = plan_precision(program, graph=ENCODER, feeds=[each.feed for each in probes], accept=gate)
    assert [(pin.operation, pin.reason) for pin in pins] == [
        (":sub", "contract"),
        ("blocks.1.mlp.lin1:linear", "overflow"),
        ("blocks.1.mlp:gelu", "overflow"),
        ("blocks.1.mlp.lin2:linear", "overflow"),
    ]
    assert all(FP16_MAX < pin.peak < 1e8 for pin in pins[1:])
    half = halve(program, pinned={pin.operation for pin in pins})
    assert gate(half) is None
    found = run_program(half, probes[0].feed, outputs=("image_tokens", "image_embeddings"))
    assert found["image_tokens"].dtype == np.float32


def test_sound_model_needs_the_contract_only() -> None:
    sound, program = tiny_graphs()[ENCODER], tiny_program(ENCODER)
    probes = probes_of(sound)
    pins = plan_precision(
        program, graph=ENCODER, feeds=[p.feed for p in probes], accept=gate_of(sound, probes)
    )
    assert [(pin.operation, pin.reason) for pin in pins] == [(":sub", "contract")]
    assert pins[0].peak == 255


def test_statistics_of_a_norm_are_found() -> None:
    """Every number fits in fp16, but the sum of squares behind the variance does not."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LayerNorm(64)
            self.second = nn.LayerNorm(64)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    program = small_program(Normed(), width=64)
    feeds = [{"x": 100 * np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)}]
    ranges = measure_ranges(program, feeds=feeds)
    first, second = ranges["first:layer_norm"], ranges["second:layer_norm"]
    assert first.peak < 500
    assert first.inner > FP16_MAX
    assert first.overflows
    assert second.inner == pytest.approx(64, rel=1e-2)
    pins = plan_precision(program, graph="normed", feeds=feeds, accept=lambda half: None)
    assert [(pin.operation, pin.reason) for pin in pins] == [("first:layer_norm", "overflow")]


@pytest.mark.parametrize("wanted", [(), (3,), (1, 2, 5), tuple(range(8))])
def test_set_is_the_smallest(chain: ExportedProgram, wanted: tuple[int, ...]) -> None:
    names = [f"layers.{index}:linear" for index in wanted]
    plans = [
        plan_precision(chain, graph="chain", feeds=CHAIN_FEEDS, accept=needs(*names))
        for _ in range(2)
    ]
    assert plans[0] == plans[1]
    assert [pin.operation for pin in plans[0]] == names
    assert {pin.reason for pin in plans[0]} <= {"task"}
