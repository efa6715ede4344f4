from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from export.bundle_files import Draft
from export.onnx_artifacts import OnnxWriter
from export.options import WeightPrecision
from export.probes import Probe
from export.steps import Steps
from export.to_onnx import to_onnx
from samclip_sdk.runtimes.options import tell_nobody
from tests.export.tiny_programs import tiny_graphs, tiny_program


@pytest.mark.parametrize("weights", ["fp16", "fp32"])
def test_int8_is_judged_as_it_will_be_stored(tmp_path: Path, weights: WeightPrecision) -> None:
    """Random weights pass the gate by a hair: the rounding of the rest may take that back."""
    graph = tiny_graphs()["mask_decoder"]
    feed = {name: tensor.numpy() for name, tensor in graph.example().items()}
    draft = Draft(
        tmp_path,
        probes={graph.name: [Probe(feed, graph.reference(feed))]},
        plan={},
        random_weights=True,
        steps=Steps(tell_nobody, total=1),
    )
    writer = OnnxWriter(draft, programs={}, calibration={}, weights=weights)
    path = tmp_path / "judged.onnx"
    program = tiny_program(graph.name)
    ir.save(to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs), path)
    assert writer._refusal(path, graph=graph) is None
    types = {value.dtype for value in ir.load(path).graph.initializers.values()}
    assert (ir.DataType.FLOAT16 in types) == (weights == "fp16")
