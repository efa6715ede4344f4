from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from export.bundle_files import Draft
from export.external_weights import WeightFiles
from export.onnx_artifacts import OnnxWriter
from export.options import WeightPrecision
from export.probes import Probe
from export.steps import Steps
from export.to_onnx import to_onnx
from samclip_sdk.bundle.graph_spec import Pin
from samclip_sdk.system.progress import no_progress
from tests.export.tiny_programs import tiny_graphs, tiny_program


@pytest.fixture(scope="module")
def mask_decoder() -> ir.Model:
    graph = tiny_graphs()["mask_decoder"]
    return to_onnx(tiny_program(graph.name), inputs=graph.traced_inputs(), outputs=graph.outputs)


@pytest.mark.parametrize("weights", ["fp16", "fp32"])
def test_int8_is_judged_as_it_will_be_stored(
    mask_decoder: ir.Model, tmp_path: Path, weights: WeightPrecision
) -> None:
    """Random weights pass the gate by a hair: the rounding of the rest may take that back."""
    graph = tiny_graphs()["mask_decoder"]
    feed = {name: tensor.numpy() for name, tensor in graph.example().items()}
    draft = Draft(
        tmp_path,
        probes={graph.name: [Probe(feed, graph.reference(feed))]},
        plan={},
        random_weights=True,
        steps=Steps(no_progress, total=1),
    )
    writer = OnnxWriter(draft, programs={}, calibration={}, weights=weights)
    path = tmp_path / "judged.onnx"
    ir.save(mask_decoder, path)
    assert writer._refusal(path, graph=graph) is None
    types = {value.dtype for value in ir.load(path).graph.initializers.values()}
    assert (ir.DataType.FLOAT16 in types) == (weights == "fp16")


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
