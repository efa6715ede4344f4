"""ExecuTorch programs of tiny models: they answer as eager torch does, in every precision.

They need ExecuTorch, which has an environment of its own: `make test-executorch`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.executorch.artifacts import MIN_DELEGATED, read_delegated
from export.executorch.quantize import quantize
from export.executorch.to_executorch import Lowered, lower, trace_buckets
from export.graphs import Graph, build_graphs
from export.options import ExportError
from export.program import export_program
from export.source import Source, random_source
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.executorch.session import ExecuTorchSession
from tests.arithmetic_graph import SPEC, feed
from tests.device_bundle import export_alone, verifies_and_answers
from tests.executorch_files import STORED, needs_executorch
from tests.refusals import refused
from tests.tiny_config import MOBILE

pytestmark = needs_executorch

PRECISIONS = ("fp32", "int8")


def drawn_source() -> Source:
    """Random weights, also where a model starts with zeros, which would hide faults."""
    source = random_source(MOBILE, seed=1)
    torch.manual_seed(2)
    for parameter in source.model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return source


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("executorch") / "bundle"
    return export_alone(drawn_source(), folder, runtime="executorch", precisions=PRECISIONS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_verify_passes_and_loading_does_not_warn(bundle: Bundle, precision: str) -> None:
    verifies_and_answers(bundle, runtime="executorch", precision=precision)


def test_an_array_in_another_layout(bundle: Bundle) -> None:
    """Torch's encoders return channels_last, which ExecuTorch would take for other numbers."""
    name = next(each for each in bundle.manifest.graphs if each.startswith("clip_head"))
    spec = bundle.manifest.graphs[name]
    (file,) = bundle.graph_files(name, runtime="executorch", precision="fp32")
    session = ExecuTorchSession(file, spec=spec)
    tokens, mask = (
        np.random.default_rng(0).random([int(axis) for axis in each.shape], dtype=np.float32)
        for each in spec.inputs
    )
    last = np.ascontiguousarray(tokens.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    found, wanted = (
        session.run({"image_tokens": each, "token_mask": mask}) for each in (last, tokens)
    )
    for output, array in wanted.items():
        np.testing.assert_array_equal(found[output], array)


def test_the_manifest_has_the_share_inside_delegates(bundle: Bundle) -> None:
    shares = {
        (name.partition("@")[0], artifact.precision): measurement
        for name, graph in bundle.manifest.graphs.items()
        for artifact in graph.artifacts
        for measurement in artifact.parity.measurements
        if measurement.metric == "delegated_multiply_adds"
    }
    assert len(shares) == 5 * len(PRECISIONS)
    for (part, _), each in shares.items():
        assert each.bound == MIN_DELEGATED.get(part, 0.0)
        assert 0.95 < each.measured <= 1


def test_int8_files_are_smaller(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        single, int8 = (
            bundle.graph_files(graph, runtime="executorch", precision=each)[0].path.read_bytes()
            for each in PRECISIONS
        )
        if graph in ("prompt_encoder", "text_encoder"):  # coordinates must be exact; a BERT
            assert single == int8
        elif graph != "mask_decoder":  # so small a decoder is mostly its three methods
            assert len(int8) < len(single)


def graph_of(part: str) -> Graph:
    graphs = build_graphs(random_source(MOBILE, seed=1).model, resolutions=[64])
    return next(graph for graph in graphs if graph.part == part)


def test_a_graph_that_is_not_inside_delegates() -> None:
    lowered = Lowered(b"", delegated=0.94)
    for part in MIN_DELEGATED:
        refused(lambda part=part: read_delegated(graph_of(part), lowered), VerificationError, "94")
    assert read_delegated(graph_of("mask_decoder"), lowered).measured == 0.94


def test_weights_in_another_layout() -> None:
    """The backbone's lie in channels_last, which XNNPACK's passes do not take."""
    graph = graph_of("image_encoder")
    weight = graph.module.get_parameter("backbone.conv_stem.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    (program,) = trace_buckets(graph).values()
    assert all(each.is_contiguous() for each in program.state_dict.values())
    assert not weight.is_contiguous()


def test_a_rounded_value_that_two_layouts_read() -> None:
    """The CLIP head's features: a convolution reads them, and they are pooled as a matrix."""
    graph = graph_of("clip_head")
    programs, feed = trace_buckets(graph), {k: x.numpy() + 1 for k, x in graph.example().items()}
    layers, _ = quantize(
        programs,
        graph=graph,
        feeds=[feed],
        probes=[feed],
        refuse=lambda found: None,
        worst_first=(),
    )
    lowered = lower(
        programs,
        inputs=[each.name for each in graph.inputs],
        outputs=[each.name for each in graph.outputs],
        int8={"expand": layers["expand"]},
    )
    assert lowered.delegated == 1


def test_axes_of_any_length() -> None:
    graph = graph_of("text_encoder")
    refused(
        lambda: lower({"main": graph.trace()}, inputs=["input_ids"], outputs=["text_embeddings"]),
        ExportError,
        *("fixed axes", "main"),
    )


class Arithmetic(nn.Module):
    """The graph of tests/arithmetic_graph.py, with inputs and outputs in another order."""

    def forward(self, count: Tensor, right: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        return left * count, left - right


def arithmetic() -> bytes:
    programs = {}
    for rows in (1, 8):
        example = {
            "count": torch.zeros(1, dtype=torch.int32),
            "right": torch.zeros(rows, 3),
            "left": torch.zeros(rows, 3),
        }
        programs[f"rows_{rows}"] = export_program(Arithmetic(), example=example, dynamic_axes={})
    names = {"inputs": ["count", "right", "left"], "outputs": ["product", "difference"]}
    return lower(programs, **names).content


def test_the_stored_program_is_made_so(tmp_path: Path) -> None:
    new = tmp_path / "graph.pte"
    new.write_bytes(arithmetic())
    answers = [
        ExecuTorchSession(GraphFile(path), spec=SPEC).run(feed(11)) for path in (new, STORED)
    ]
    for name, array in answers[0].items():
        np.testing.assert_array_equal(array, answers[1][name])


if __name__ == "__main__":
    STORED.write_bytes(arithmetic())
