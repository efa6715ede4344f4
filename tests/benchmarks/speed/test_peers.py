"""What is forced on every peer, and that each is measured alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.speed.peers import exports, forced
from benchmarks.speed.peers.clipseg import ClipSeg
from benchmarks.speed.peers.mobile_sam import MobileSam
from benchmarks.speed.peers.sam_onnx import SamOnnx
from benchmarks.speed.peers.sam_openclip import SamOpenClip
from benchmarks.speed.peers.yoloe import YoloE

ROOT = Path(__file__).parents[3]


def test_plain_onnx_needs_neither_torch_nor_the_sdk() -> None:
    """Their memory and imports would count as its own."""
    code = """
import sys
from benchmarks.speed.peers.sam_onnx import SamOnnx
SamOnnx()
print({"torch", "samclip_sdk", "segment_anything", "open_clip"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_failed_export_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, stderr="no space left")

    monkeypatch.setattr(exports.subprocess, "run", child)
    monkeypatch.setattr(exports, "CACHE", tmp_path)
    with pytest.raises(RuntimeError, match="of yoloe failed:\nno space left"):
        exports.exported("yoloe", "yoloe-26n-seg", packages=["numpy"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [ClipSeg, MobileSam, YoloE])
def test_an_unknown_runtime_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="runtime is 'torch'; it must be one of onnx, openvino"):
        make(runtime="torch")


@pytest.mark.parametrize("runtime", exports.RUNTIMES)
def test_a_plain_export_is_run_as_it_is(runtime: str, tmp_path: Path) -> None:
    x = ir.val("x", ir.DataType.FLOAT, ["rows", 3])
    node = ir.node("Add", [x, x])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape(["rows", 3])
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}, name="doubled")
    ir.save(ir.Model(graph, ir_version=9), tmp_path / "doubled.onnx")
    net = exports.open_net(tmp_path / "doubled.onnx", runtime=runtime, threads=1)
    assert (net.input_axis, net.output_axis) == (3, 3)
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = net.run({"x": given})
    (again,) = net.run({"x": given + 1})
    assert np.array_equal(found, 2 * given)
    assert np.array_equal(again, 2 * given + 2)


@pytest.mark.parametrize("make", [SamOpenClip, SamOnnx])
def test_more_proposals_than_masks_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="13 proposals cannot be kept: ask for 1 to 12"):
        make(proposals=13, points_per_side=2)


def test_what_is_forced() -> None:
    assert forced.kept_proposals(3, of=192).tolist() == [0, 95, 191]
    assert forced.crop_box((3.0, 4.0, 3.0, 9.5)) == (3, 4, 4, 9)
    masks = np.array([[[1, 0]], [[0, 1]], [[1, 1]]], bool)
    embeddings = np.array([[1, 0], [0, 1], [0.9, 0.1]], np.float32)
    painted = forced.paint(masks, embeddings, np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    assert painted.tolist() == [[[True, True]], [[False, True]], [[False, False]]]
    ranked = forced.rank(np.array([1, 0], np.float32), np.array([[0.01, 0], [0, 1]], np.float32))
    assert ranked == pytest.approx([np.e / (np.e + 1), 1 / (np.e + 1)])
