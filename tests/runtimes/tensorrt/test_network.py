"""Networks as TensorRT parses them: what is refused, and which TensorRT does it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import onnx.parser
import pytest

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import RuntimeMissingError, VerificationError
from samclip_sdk.runtimes.tensorrt.engine import describe_tensorrt
from samclip_sdk.runtimes.tensorrt.network import import_tensorrt, parse_network
from tests.refusals import refused

ONE_HOT = """
<ir_version: 8, opset_import: ["" : 18]>
graph (int32[num_texts] x) => (float[num_texts, 5] y)
<int64 depth = {5}, float[2] values = {0, 1}>
{
    [one_hot] y = OneHot (x, depth, values)
}
"""
SIZE = """
<ir_version: 8, opset_import: ["" : 18]>
graph (float[1, 4] x, int32[2] size) => (float[height, width] y)
{
    [widen] wide = Cast <to = 7> (size)
    y = Expand (x, wide)
}
"""


def tensor(name: str, *shape: int | str, dtype: Any = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("graph", "inputs", "output", "named"),
    [
        (
            ONE_HOT,
            (tensor("x", "num_texts", dtype="int32"),),
            tensor("y", "num_texts", 5),
            ("one_hot", "ONE_HOT"),
        ),
        # As `orig_im_size` of SAM's own export.
        (
            SIZE,
            (tensor("x", 1, 4), tensor("size", 2, dtype="int32")),
            tensor("y", "height", "width"),
            ("the input size", "widen"),
        ),
    ],
)
def test_what_tensorrt_would_build_and_we_refuse(
    tmp_path: Path,
    graph: str,
    inputs: tuple[TensorSpec, ...],
    output: TensorSpec,
    named: tuple[str, ...],
) -> None:
    path, spec = tmp_path / "graph.onnx", GraphSpec(inputs=inputs, outputs=(output,))
    onnx.save(onnx.parser.parse_model(graph), path)
    refused(
        lambda: parse_network(path, spec=spec, trt=import_tensorrt()), VerificationError, *named
    )


class TestImport:
    def test_one_that_is_too_old_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """JetPack 6.0 has 8.6."""
        old = ModuleType("tensorrt")
        old.__dict__["__version__"] = "8.6.2"
        monkeypatch.setitem(sys.modules, "tensorrt", old)
        assert import_tensorrt().__name__ == "tensorrt_rtx"
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        with pytest.raises(RuntimeMissingError, match=r"8\.6\.2 is older than 10.*JetPack"):
            import_tensorrt()

    @pytest.mark.gpu
    def test_describes_itself(self) -> None:
        assert "tensorrt" in describe_tensorrt()
