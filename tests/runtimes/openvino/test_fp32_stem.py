"""What computes a value is marked for fp32, and nothing else; the answers stay what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from export.program import export_program
from export.to_onnx import to_onnx
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.runtimes.openvino.fp32_stem import read_with_fp32_stem
from samclip_sdk.runtimes.openvino.session import OpenVINOSession, computes_bf16, openvino_core

SPEC = GraphSpec(
    inputs=(TensorSpec(name="image", dtype="uint8", shape=(1, 3, 32, 32)),),
    outputs=(TensorSpec(name="found", dtype="float32", shape=(1, 8, 32, 32)),),
)
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)


class Encoder(nn.Module):
    """Between its first two convolutions bf16 has steps of 16, and the second tells differences."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.raising = nn.Conv2d(3, 3, 1)
        self.differences = nn.Conv2d(3, 3, 3, bias=False)
        self.body = nn.Conv2d(3, 8, 3, padding=2)
        with torch.no_grad():
            self.raising.bias.fill_(3000)
            self.differences.weight -= self.differences.weight.mean(dim=(1, 2, 3), keepdim=True)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.body(self.differences(self.raising(image.float())))
        return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    example = {"image": torch.tensor(IMAGE)}
    program = export_program(Encoder(), example=example, dynamic_axes={})
    model = to_onnx(program, inputs=SPEC.inputs, outputs=SPEC.outputs)
    target = tmp_path_factory.mktemp("graph") / "graph.onnx"
    ir.save(model, target)
    return target


def marked(model: Any) -> list[str]:
    return [
        node.get_type_name()
        for node in model.get_ordered_ops()
        if any("Precision" in key or "precise" in key for key in node.get_rt_info())
    ]


def differences(path: Path) -> str:
    """The name of the second convolution's value."""
    convolutions = [node for node in ir.load(path).graph if node.op_type == "Conv"]
    return str(convolutions[1].outputs[0].name)


def test_what_computes_the_value_is_marked(path: Path, tmp_path: Path) -> None:
    until = differences(path)
    found = marked(read_with_fp32_stem(openvino_core(), path, until=until, folder=tmp_path))
    assert found.count("Convolution") == 2
    assert {"Convert", "Add"} <= {*found}


def test_a_name_that_is_not_there_marks_nothing(path: Path, tmp_path: Path) -> None:
    model = read_with_fp32_stem(openvino_core(), path, until="nothing", folder=tmp_path)
    assert marked(model) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not computes_bf16(), reason="this CPU has no bf16")
def test_a_session_in_bf16_keeps_it_in_fp32(path: Path) -> None:
    exact = OpenVINOSession(GraphFile(path), spec=SPEC).run({"image": IMAGE})["found"]
    errors = []
    for stem in (None, differences(path)):
        spec = SPEC.model_copy(update={"bf16_stem": stem})
        session = OpenVINOSession(GraphFile(path, precision="bf16"), spec=spec)
        found = session.run({"image": IMAGE})["found"]
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
        session.close()
    without, with_stem = errors
    assert with_stem < 0.01 < without
