"""Layer norms whose sums would overflow in half precision are divided; nothing else changes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from export.description import describe
from export.graphs import Arrays, Graph, build_graphs
from export.images import calibration_images, held_out_images
from export.options import ExportOptions
from export.parity import BOUNDS, read_outputs
from export.precision.mixed_precision import halve
from export.precision.norms import SAFE_SUM, DividedNorm, divide_norms
from export.precision.plan import measure_ranges
from export.precision.program_interpreter import ProgramInterpreter
from export.probes import Probe, probe_graphs
from export.program import export_program
from export.source import find_source
from export.tokenizer import write_tokenizer
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from tests.source_tree import ROOT
from tests.tiny_config import MOBILE, TINY

aten = torch.ops.aten

RNG = np.random.default_rng(5)
FEEDS: dict[str, Arrays] = {
    "image_encoder": {"image": RNG.integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)},
    "text_encoder": {"input_ids": np.array([[101, 5, 102, *[0] * 21]], dtype=np.int32)},
}


def _total(x: Tensor, axes: Sequence[int], *, keep: bool = True) -> Tensor:
    return _rounded(x.sum(dim=list(axes), keepdim=keep))


def _rounded(x: Tensor) -> Tensor:
    return x.half().float()


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float, *_: bool
) -> Tensor:
    centred = _rounded(x - _rounded(_total(x, [-1]) / shape[-1]))
    variance = _rounded(_total(_rounded(centred.square()), [-1]) / shape[-1])
    return _rounded(centred * _rounded(torch.rsqrt(variance + eps))) * weight + bias


def _mean(x: Tensor, axes: Sequence[int], keep: bool = False) -> Tensor:
    return _total(x, axes, keep=keep) / math.prod(x.shape[axis] for axis in axes)


def _length(x: Tensor, _: float, axes: Sequence[int], keep: bool = False) -> Tensor:
    return _total(_rounded(x.square()), axes, keep=keep).sqrt()


SUMS = {
    aten.layer_norm.default: _layer_norm,
    aten.mean.dim: _mean,
    aten.linalg_vector_norm.default: _length,
}


class HalfInterpreter(ProgramInterpreter):
    """Runs a program as a phone's GPU may: the sums of norms and means are in fp16 too."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(SUMS.get(target, target), args, kwargs)


def all_in_half(program: ExportedProgram, graph: Graph, feed: Arrays) -> dict[str, Any]:
    """Runs all of a program in fp16, what the contract wants in fp32 included."""
    half = halve(program, pinned=frozenset())
    inputs = [torch.tensor(feed[name]) for name in half.graph_signature.user_inputs]
    ((_, outputs),) = deque(HalfInterpreter(half).steps(inputs), maxlen=1)
    return {spec.name: each.numpy() for spec, each in zip(graph.outputs, outputs, strict=True)}


def broken(
    graph: Graph, program: ExportedProgram, probes: Sequence[Probe], *, random_weights: bool
) -> list[str]:
    """The bounds of fp16 that a graph breaks if all of its program is computed in fp16."""
    readings = read_outputs(
        [all_in_half(program, graph, probe.feed) for probe in probes],
        expected=[probe.expected for probe in probes],
        bounds=BOUNDS["fp16"],
        random_weights=random_weights,
    )
    return [str(each) for each in readings if not each.kept]


def planted(config: ModelConfig, part: str) -> tuple[Graph, str]:
    """A graph with a layer norm whose input is far too large for sums in fp16, and its name."""
    model = build_model(config, seed=1)
    with torch.no_grad():
        if part == "text_encoder":
            name = "blocks.0.ln_2"
            model.text_encoder.get_submodule("blocks.0.ln_1").weight.mul_(1e3)
        else:
            name = "neck.1"
            model.image_encoder.get_submodule("neck.0").weight.mul_(1e3)
    return next(g for g in build_graphs(model, resolutions=[64]) if g.part == part), name


@pytest.mark.parametrize(
    ("config", "part"),
    [(TINY, "image_encoder"), (MOBILE, "image_encoder"), (MOBILE, "text_encoder")],
    ids=["vit", "pyramid", "bert"],
)
def test_a_planted_overflow(config: ModelConfig, part: str) -> None:
    """No digit changes in fp32, and the sums fit in fp16, in which the graph was wrong."""
    graph, name = planted(config, part)
    feed = FEEDS[part]
    probe = Probe(feed, graph.reference(feed))
    divided = divide_norms(graph, feeds=[feed])
    found = [each for each, module in divided.module.named_modules() if is_divided(module)]
    assert found == [name]
    assert not any(map(is_divided, graph.module.modules()))

    inputs = [torch.tensor(feed[spec.name]) for spec in graph.inputs]
    with torch.inference_mode():
        torch.testing.assert_close(divided.module(*inputs), graph.module(*inputs), atol=0, rtol=0)

    operation = f"{name}:layer_norm"
    example = {spec.name: tensor for spec, tensor in zip(graph.inputs, inputs, strict=True)}
    before, after = (
        export_program(each.module, example=example, dynamic_axes={}) for each in (graph, divided)
    )
    assert measure_ranges(before, feeds=[feed])[operation].overflows
    assert SAFE_SUM / 8 < measure_ranges(after, feeds=[feed])[operation].inner <= SAFE_SUM
    assert broken(graph, before, [probe], random_weights=True)
    assert broken(divided, after, [probe], random_weights=True) == []


def is_divided(module: torch.nn.Module) -> bool:
    return isinstance(module, DividedNorm)


def test_what_fits_is_left_alone() -> None:
    (graph, *_) = (
        each
        for each in build_graphs(build_model(MOBILE, seed=1), resolutions=[64])
        if each.part == "image_encoder"
    )
    assert divide_norms(graph, feeds=[FEEDS["image_encoder"]]) is graph


@pytest.mark.slow
def test_the_default_model_in_half_precision(tmp_path: Path) -> None:
    """On photographs, every graph keeps the bounds of fp16; `prompt_encoder` has coordinates."""
    source = find_source(str(ROOT / "training/checkpoints/mobile/refinement"))
    info = describe(source, options=ExportOptions())
    side = info.tasks.segmentation.resolution  # the mask decoder runs at it alone
    graphs = build_graphs(source.model, resolutions=[side])
    tokenize = write_tokenizer(
        tmp_path / "tokenizer.json", info.model.text_encoder, own=source.tokenizer
    )
    seen, words = calibration_images(None)
    held_out, names = held_out_images()

    def probes(images: Sequence[Any], labels: Sequence[str]) -> dict[str, list[Probe]]:
        ids = tokenize([f"a photo of a {label}." for label in labels])
        return probe_graphs(
            graphs, resolution=side, image=info.image, token_ids=[ids], images=images
        )

    measured = probes(seen[:4], words)
    tried = probes([each.image for each in held_out[:2]], names)
    for graph in graphs:
        feeds = [probe.feed for probe in measured[graph.name]]
        divided = divide_norms(graph, feeds=feeds)
        found = broken(divided, divided.trace(), tried[graph.name], random_weights=False)
        assert found == [], graph.name
