"""Networks as TensorRT parses them: what is refused, and which TensorRT does it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import RuntimeMissingError, VerificationError
from samclip_sdk.runtimes.tensorrt.engine import describe_tensorrt
from samclip_sdk.runtimes.tensorrt.network import (
    import_tensorrt,
    parse_network,
)
from tests.runtimes.tensorrt.test_engine import spec_of, write_graph


class TestCheck:
    """What TensorRT would build, or has parsed, and we refuse."""

    def parse(self, path: Path, *, spec: GraphSpec) -> None:
        parse_network(path, spec=spec, trt=import_tensorrt())

    def test_one_hot(self, tmp_path: Path) -> None:
        path = write_graph(
            tmp_path / "graph.onnx",
            [helper.make_node("OneHot", ["x", "depth", "values"], ["y"], name="labels/OneHot")],
            inputs={"x": (TensorProto.INT32, ["num_texts"])},
            outputs={"y": (TensorProto.FLOAT, ["num_texts", 5])},
            initializers=[
                numpy_helper.from_array(np.array(5, dtype=np.int64), "depth"),
                numpy_helper.from_array(np.array([0, 1], dtype=np.float32), "values"),
            ],
        )
        spec = spec_of(("num_texts",), ("num_texts", 5), dtype="int32")
        with pytest.raises(VerificationError, match=r"labels/OneHot is a ONE_HOT"):
            self.parse(path, spec=spec)

    def test_an_input_that_is_a_shape(self, tmp_path: Path) -> None:
        """As `orig_im_size` of SAM's own export."""
        path = write_graph(
            tmp_path / "graph.onnx",
            [
                helper.make_node("Cast", ["size"], ["wide"], to=TensorProto.INT64, name="widen"),
                helper.make_node("Expand", ["x", "wide"], ["y"], name="expand"),
            ],
            inputs={"x": (TensorProto.FLOAT, [1, 4]), "size": (TensorProto.INT32, [2])},
            outputs={"y": (TensorProto.FLOAT, ["height", "width"])},
        )
        spec = GraphSpec(
            inputs=(
                TensorSpec(name="x", dtype="float32", shape=(1, 4)),
                TensorSpec(name="size", dtype="int32", shape=(2,)),
            ),
            outputs=(TensorSpec(name="y", dtype="float32", shape=("height", "width")),),
        )
        with pytest.raises(VerificationError, match=r"the input size of the layer .*widen"):
            self.parse(path, spec=spec)


class TestImport:
    def test_the_classic_one_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        classic = ModuleType("tensorrt")
        classic.__dict__["__version__"] = "10.3.0"
        monkeypatch.setitem(sys.modules, "tensorrt", classic)
        assert import_tensorrt() is classic

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
