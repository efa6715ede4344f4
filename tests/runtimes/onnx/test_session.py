"""What onnxruntime's sessions have of their own; their contract is in test_sessions.py."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, RunError, RuntimeMissingError
from samclip_sdk.runtimes.onnx.session import OrtSession, trim_heap
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.options import RuntimeOptions
from tests.runtimes.test_sessions import (
    SPEC,
    check,
    expected,
    feed,
    open_onnx,
    open_onnx_file,
    write_onnx,
)


def test_an_fp16_file_keeps_the_contracts_dtypes(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "half.onnx", float_type=TensorProto.FLOAT16)
    found = open_onnx_file(path).run(feed())
    for name, wanted in expected(feed()).items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], wanted, atol=1e-2)


def test_refuses_a_file_that_breaks_the_contract(tmp_path: Path) -> None:
    double = TensorProto.DOUBLE
    for path, message in (
        (write_onnx(tmp_path / "a.onnx", width=4), r"left is float32\['rows', 4\]"),
        (write_onnx(tmp_path / "b.onnx", rows=2), r"left is float32\[2, 3\]"),
        (write_onnx(tmp_path / "c.onnx", count_name="number"), "'number'"),
        (write_onnx(tmp_path / "d.onnx", float_type=double), r"left is tensor\(double\)"),
    ):
        with pytest.raises(BundleError, match=message):
            open_onnx_file(path)


@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
def test_refuses_a_damaged_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "graph.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match="cannot load") as caught:
        open_onnx_file(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_loads_and_does_not_run(tmp_path: Path) -> None:
    """A reshape that fits no input; what onnxruntime says of it is cut to a sane length."""
    path = tmp_path / "graph.onnx"
    spec = GraphSpec(
        inputs=(TensorSpec(name="x", dtype="float32", shape=("rows", 6)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=("rows", 6)),),
    )
    shapes = [
        numpy_helper.from_array(np.array(s), name) for s, name in (([-1, 4], "a"), ([-1, 6], "b"))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "a"], ["z"], name="n" * 60_000),
            helper.make_node("Reshape", ["z", "b"], ["y"]),
        ],
        "misfit",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 6])],
        shapes,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
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


def test_external_weights(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    values = np.arange(512, dtype=np.float32)
    spec = GraphSpec(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(512,)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(512,)),),
    )
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [512])],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="w.weights", size_threshold=0)
    opened = open_onnx_file(path, spec=spec)
    np.testing.assert_array_equal(opened.run({"x": values})["y"], 2 * values)
    (tmp_path / "w.weights").unlink()
    with pytest.raises(BundleError, match="cannot load"):
        open_onnx_file(path, spec=spec)


def test_plans_no_memory_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep every attention map of a 1024-px encoder alive, and reuse some of them."""
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def spy(path: str, *, sess_options: Any, providers: list[Any], enable_fallback: int) -> Any:
        assert enable_fallback == 0
        kept = sess_options.enable_mem_pattern, sess_options.enable_mem_reuse
        seen.append((*kept, providers))
        return real(path, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    open_onnx(tmp_path)
    assert seen == [(False, False, [("CPUExecutionProvider", {})])]


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "samclip-sdk\[onnx\]"'):
        open_onnx(tmp_path)


def test_how_onnxruntime_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def spy(path: str, *, sess_options: Any, providers: list[Any], enable_fallback: int) -> Any:
        spinning = sess_options.get_session_config_entry("session.intra_op.allow_spinning")
        seen.append((sess_options.intra_op_num_threads, spinning))
        return real(path, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    path = write_onnx(tmp_path / "graph.onnx")
    for threads in (0, 3):
        options = RuntimeOptions(threads=threads)
        check(open_session("onnx", files=[GraphFile(path)], spec=SPEC, options=options), feed())
    assert seen == [(0, "0"), (3, "0")]


@pytest.mark.parametrize(("device", "without"), [(None, "SkipLayerNormFusion"), ("cuda:0", None)])
def test_a_cpu_adds_before_it_norms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str | None, without: str | None
) -> None:
    """The two as one operator take a GPU less time, and a CPU several times more."""
    seen: list[Any] = []

    def refuse(_path: str, *, options: RuntimeOptions, session_options: Any) -> Any:
        seen.append(session_options)
        raise ValueError("seen enough")

    monkeypatch.setattr("samclip_sdk.runtimes.onnx.session.open_graph", refuse)
    with pytest.raises(BundleError, match="seen enough"):
        OrtSession(tmp_path / "a.onnx", spec=SPEC, options=RuntimeOptions(device=device))
    entry = "optimization.disable_specified_optimizers"
    if without is None:
        with pytest.raises(RuntimeError):
            seen[0].get_session_config_entry(entry)
    else:
        assert seen[0].get_session_config_entry(entry) == without


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
