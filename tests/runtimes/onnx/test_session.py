"""What onnxruntime's sessions have of their own; their contract is in test_sessions.py."""

from __future__ import annotations

import ctypes
import platform
import resource
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, RunError
from samclip_sdk.runtimes.onnx.session import trim_heap
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


BLOCKS, SIZE = 2000, 50_000  # 100 MB, of blocks that malloc gives out of its heap


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a way to be asked")
def test_freed_memory_goes_back_to_the_system() -> None:
    def resident_bytes() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks[:-1]:  # The last holds the heap up: free alone gives nothing back.
        libc.free(block)
    before = resident_bytes()
    trim_heap()
    given_back = before - resident_bytes()
    libc.free(blocks[-1])
    assert given_back > BLOCKS * SIZE / 2
