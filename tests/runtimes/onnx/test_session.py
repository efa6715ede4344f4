"""What onnxruntime's sessions have of their own; their contract is in test_sessions.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, RunError
from samclip_sdk.runtimes.onnx.session import session_options
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS
from tests.runtimes.test_sessions import check, feed, open_onnx_file, write_onnx


def test_an_fp16_file_keeps_the_contracts_dtypes(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "half.onnx", float_type=TensorProto.FLOAT16)
    check(open_onnx_file(path), feed(), atol=1e-2)


def test_a_file_that_loads_and_does_not_run(tmp_path: Path) -> None:
    """A reshape that fits no input; what onnxruntime says of it is cut to a sane length."""
    path = tmp_path / "graph.onnx"
    spec = GraphSpec(
        inputs=(TensorSpec(name="x", dtype="float32", shape=("rows", 6)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=("rows", 6)),),
    )
    text = f"""
        <ir_version: 8, opset_import: ["" : 18]>
        misfit (float[rows, 6] x) => (float[rows, 6] y)
        <int64[2] fours = {{-1, 4}}, int64[2] sixes = {{-1, 6}}>
        {{
            [{"n" * 60_000}] z = Reshape (x, fours)
            y = Reshape (z, sixes)
        }}
    """
    onnx.save(onnx.parser.parse_model(text), path)
    opened = open_onnx_file(path, spec=spec)
    assert opened.run({"x": np.ones((2, 6), np.float32)})["y"].shape == (2, 6)
    with pytest.raises(RunError, match=r"graph\.onnx in onnxruntime failed as it ran") as caught:
        opened.run({"x": np.ones((1, 6), np.float32)})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_file_whose_error_is_no_text_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What onnxruntime says about it is not UTF-8; it took that for a provider's failure."""
    path = write_onnx(tmp_path / "graph.onnx")
    path.write_bytes(path.read_bytes().replace(b"Sub", b"S\xd3b"))
    with pytest.raises(BundleError, match="cannot load"):
        open_onnx_file(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("shape", "arena"),
    [
        ((1, 3, 576, 576), False),
        ((1, 3, 1024, 1024), True),
        ((1, 256, 64, 64), True),
        (("num_texts", "num_tokens"), False),
    ],
)
def test_only_a_graph_of_large_images_keeps_freed_memory(
    shape: tuple[int | str, ...], arena: bool
) -> None:
    """Without an arena, encoders took up to twice as long at 1,024 px."""
    spec = GraphSpec(inputs=(TensorSpec(name="x", dtype="float32", shape=shape),), outputs=())
    settings = session_options(DEFAULT_OPTIONS, spec=spec, on_cpu=True)
    assert settings.enable_cpu_mem_arena is arena
