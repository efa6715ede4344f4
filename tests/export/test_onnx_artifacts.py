from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from export.draft import Draft
from export.external_weights import WeightFiles
from export.graphs import build_graphs
from export.onnx_artifacts import OnnxWriter
from export.options import WeightPrecision
from export.probes import Probe
from export.steps import Steps
from export.to_onnx import to_onnx
from samclip_sdk.bundle.graph_spec import Pin
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.system.progress import no_progress
from tests.export.tiny_programs import tiny_graphs, tiny_program
from tests.refusals import refused
from tests.tiny_config import PYRAMID_STUDENT


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["fp16", "fp32"])
def test_layers_that_the_plan_keeps_in_fp32_are_stored_as_asked(
    tmp_path: Path, weights: WeightPrecision
) -> None:
    """Stored in fp32 they were half of samclip-mobile's fp16 set, and shared by no other."""
    name = "clip_head@64"
    graph, program = tiny_graphs()[name], tiny_program(name)
    kept = Pin(operation="blocks.0.mlp.lin1:linear", reason="overflow", peak=1e5)
    draft = Draft(
        tmp_path,
        probes={},
        plan={name: [kept]},
        random_weights=True,
        steps=Steps(no_progress, total=1),
    )
    writer = OnnxWriter(draft, programs={name: program}, calibration={}, weights=weights)
    with WeightFiles(tmp_path, part="clip_head") as store:
        writer._convert(graph, precisions=("fp16", "fp32"), store=store, keep=())
        store.write()
    found = ir.load(tmp_path / "clip_head_64.fp16.onnx").graph.initializers.values()
    large = {value.dtype for value in found if value.const_value.size >= 1024}
    assert (ir.DataType.FLOAT in large) == (weights == "fp32")
    own = tmp_path / "clip_head.fp16.weights"
    assert weights == "fp32" or not own.exists() or own.stat().st_size < 4096


class Elsewhere(nn.Module):
    """Answers with the opposite."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(-each for each in self.head(*inputs))


@pytest.mark.slow
def test_int8_is_searched_by_the_questions_of_the_check(tmp_path: Path) -> None:
    """Parts of a square were asked by the check alone: it then refused what had been found."""
    model = build_model(PYRAMID_STUDENT, seed=1).eval()
    (graph,) = (each for each in build_graphs(model, resolutions=[64]) if each.part == "clip_head")
    tokens, mask = graph.example().values()
    feed = {"image_tokens": torch.randn_like(tokens).numpy(), "token_mask": mask.numpy() + 1}
    probes = [Probe(feed, graph.reference(feed))]
    draft = Draft(
        tmp_path,
        probes={graph.name: probes},
        plan={},
        random_weights=True,
        steps=Steps(no_progress, total=1),
    )
    calibration = {graph.name: [feed]}
    writer = OnnxWriter(draft, programs={}, calibration=calibration, weights="fp32")
    single = to_onnx(graph.trace(), inputs=graph.traced_inputs(), outputs=graph.outputs)
    writer._quantize(single, graph=graph, keep=())
    wrong = replace(graph, eager=Elsewhere(graph.eager))
    refused(
        lambda: writer._quantize(single, graph=wrong, keep=()), VerificationError, "cannot be int8"
    )
