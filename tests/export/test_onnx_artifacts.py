from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from export.draft import Draft
from export.external_weights import WeightFiles
from export.onnx_artifacts import OnnxWriter
from export.options import WeightPrecision
from export.steps import Steps
from samclip_sdk.bundle.graph_spec import Pin
from samclip_sdk.system.progress import no_progress
from tests.export.tiny_programs import tiny_graphs, tiny_program


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
