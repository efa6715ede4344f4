"""What is written is what the program says: names, types, values, and what Xcode shows."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path

import pytest
import torch

from export.buckets import bucket_example
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import (
    TENSORS,
    Weights,
    to_coreml,
)
from export.program import export_program
from samclip_sdk.runtimes.coreml.package import import_coremltools
from tests.coreml_packages import (
    METADATA,
    error,
    graphs,
    open_session,
    package,
    probes,
)

pytestmark = pytest.mark.slow

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
PARTS = ["image_encoder", "clip_head", "text_encoder", "prompt_encoder", "mask_decoder"]


@pytest.mark.parametrize("part", PARTS)
def test_computes_what_eager_torch_computes(part: str) -> None:
    session = open_session(part)
    for probe in probes()[part]:
        assert error(session.run(probe.feed), expected=probe.expected) < 1e-5


@pytest.mark.parametrize("part", PARTS)
def test_computes_it_in_half_precision(part: str) -> None:
    session = open_session(part, precision="fp16", buckets=(0,))
    errors = [error(session.run(probe.feed), expected=probe.expected) for probe in probes()[part]]
    assert 1e-5 < max(errors) < 1e-2


@pytest.mark.parametrize(
    ("weights", "bound", "size"), [("int8", 0.05, 0.75), ("palette6", 0.2, 0.5)]
)
def test_packed_weights(weights: Weights, bound: float, size: float) -> None:
    session = open_session("text_encoder", precision="fp16", weights=weights, buckets=(0,))
    errors = [
        error(session.run(probe.feed), expected=probe.expected)
        for probe in probes()["text_encoder"]
    ]
    assert 0 < max(errors) < bound
    plain, packed = (
        package("text_encoder", bucket=0, precision="fp16", weights=kind)
        for kind in ("as_is", weights)
    )
    assert _size(packed) < size * _size(plain)


def test_says_what_it_takes() -> None:
    path = package("prompt_encoder", bucket=1, precision="fp32", weights="as_is")
    spec = import_coremltools().utils.load_spec(str(path))
    assert spec.specificationVersion == 8  # iOS 17
    assert "Fixed lengths: num_points = 16, num_prompts = 4" in (
        spec.description.metadata.shortDescription
    )
    assert spec.description.metadata.author == "nobody"
    assert spec.description.metadata.license == "Apache-2.0"
    assert spec.description.metadata.versionString == "seed 1"
    for feature in (*spec.description.input, *spec.description.output):
        assert feature.shortDescription == TENSORS[feature.name]


def test_half_precision_survives_without_an_fp32_copy() -> None:
    half, full = (
        package("mask_decoder", bucket=0, precision=precision, weights="as_is")
        for precision in ("fp16", "fp32")
    )
    assert (half / WEIGHTS).stat().st_size < 0.6 * (full / WEIGHTS).stat().st_size
    kinds = collections.Counter(
        (step.kind, output.dtype) for step in MilInterpreter(half)._steps for output in step.outputs
    )
    for kind in ("linear", "matmul", "softmax", "layer_norm", "gelu"):
        assert kinds[kind, torch.float16], kind
        assert not kinds[kind, torch.float32], kind


def test_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = graphs()["clip_head"]
    program = export_program(graph.module, example=bucket_example(graph, axes={}), dynamic_axes={})
    packages = {tmp_path / "clip_head.mlpackage": "palette6"}
    to_coreml(program, packages, graph=graph, axes={}, metadata=METADATA)
    assert tuple(capfd.readouterr()) == ("", "")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_the_gate_sees_a_changed_weight(tmp_path: Path) -> None:
    path = tmp_path / "other.mlpackage"
    shutil.copytree(package("clip_head", bucket=0, precision="fp32", weights="as_is"), path)
    stored = graphs()["clip_head"].module.get_parameter("mlp.0.weight").numpy().tobytes()
    content = (path / WEIGHTS).read_bytes()
    assert content.count(stored) == 1
    (path / WEIGHTS).write_bytes(content.replace(stored, stored[4:] + stored[:4]))
    probe = probes()["clip_head"][0]
    found = MilInterpreter(path).predict(dict(probe.feed))
    assert error(found, expected=probe.expected) > 1e-3
