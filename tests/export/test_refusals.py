"""What cannot be exported is refused before any work, in one line that names the value."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from typer.testing import CliRunner

from export.__main__ import main
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.mil_types import UnknownOperationError
from export.coreml.to_coreml import to_coreml
from export.graphs import Graph
from export.options import ExportError, ExportOptions, check_export, check_out
from export.parity import STORAGE_BOUNDS, check_parity
from export.precision.mixed_precision import halve
from export.precision.plan import plan_precision
from export.precision.quantize import quantize
from export.probes import Probe
from export.program import export_program
from export.source import find_config, find_source, read_source
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, StorageError, VerificationError
from tests.coreml_packages import METADATA
from tests.export.coreml.test_mil_interpreter import IMAGE, fp32, save
from tests.export.precision.test_plan import CHAIN_FEEDS, Chain, small_program
from tests.export.precision.test_quantize import accept, chain, feed_of, linear
from tests.export.tiny_programs import tiny_graphs, tiny_program
from tests.fake_session import FakeSession
from tests.refusals import refused
from tests.tiny_config import TINY


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"onnx": ("int4",)}, "int4"),
        ({"onnx": ("palette6",)}, "palette6"),
        ({"coreml": ("bf16",)}, "bf16"),
        ({"litert": ("palette6",)}, "palette6"),
        ({"executorch": ("fp16",)}, "fp16"),
        ({"onnx": ("fp32", "fp16", "fp32")}, "fp32"),
        ({"onnx": ()}, "Core ML"),
    ],
)
def test_options(options: dict[str, Any], named: str) -> None:
    refused(lambda: ExportOptions(**options), ExportError, named)


@pytest.mark.parametrize("resolution", [33, 0, -64, 10**30])
def test_a_resolution(tmp_path: Path, resolution: int) -> None:
    asked = ExportOptions(resolutions=(64, resolution))
    refused(lambda: check_export(TINY, tmp_path / "out", options=asked), ExportError, resolution)


@pytest.mark.parametrize(
    ("missing", "asked", "named"),
    [
        (["coremltools"], {"coreml": ("fp16",)}, "coremltools"),
        (["onnx", "onnxscript", "onnx_ir"], {}, "[export]"),
        (["litert_torch"], {"onnx": (), "litert": ("fp32",)}, "[export-litert]"),
        (["executorch.exir"], {"onnx": (), "executorch": ("fp32",)}, "[export-executorch]"),
    ],
)
def test_a_package_that_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: list[str],
    asked: dict[str, Any],
    named: str,
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    if "onnx" in missing:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    call = partial(check_export, TINY, tmp_path / "out", options=ExportOptions(**asked))
    refused(call, RuntimeMissingError, named)


@pytest.mark.parametrize(
    "take", [Path.touch, Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)]
)
def test_a_place_that_is_taken(tmp_path: Path, take: Callable[[Path], object]) -> None:
    take(tmp_path / "out")
    refused(lambda: check_out(tmp_path / "out"), StorageError, tmp_path / "out")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "file/out"])
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert str(refused(lambda: check_out(tmp_path / name), StorageError)).isprintable()


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    refused(lambda: check_out(tmp_path / "out"), StorageError, tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("calibration.json", "{", "cannot be exported"),
        ("calibration.json", '{"scale": -1}', "scale"),
        ("nouns.txt", "dog\nDog\n", "Dog"),
        ("words.json", "{}", "words.json"),
        ("thresholds.json", "[0.5]", "thresholds.json"),
        ("thresholds.json", '{"dog": 1.5}', "1.5"),
        ("thresholds.json", '{"dog": true}', "True"),
        ("thresholds.json", '{"zebra": 0.5}', "'zebra'"),
        ("config.json", "Apache-2.0", "licences"),
        ("config.json", ["Apache-2.0"], "licences"),
    ],
)
def test_a_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path, file: str, content: Any, named: str
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    if file == "config.json":
        whole = json.loads((folder / file).read_text())
        whole["provenance"]["licences"] = content
        content = json.dumps(whole)
    (folder / file).write_text(content)
    refused(lambda: read_source(folder), BundleError, named)


@pytest.mark.parametrize("find", [find_source, find_config])
@pytest.mark.parametrize(
    ("name", "named"), [("random:huge", "mobile, mobileclip, repvit, tiny"), ("nowhere", "nowhere")]
)
def test_a_name(find: Callable[[str], object], name: str, named: str) -> None:
    refused(lambda: find(name), BundleError, named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["random:tiny", "OUT", "--onnx", "int4"], "int4"),
        (["random:tiny", "OUT", "--resolution", "33"], "33"),
        (["random:huge", "OUT"], "huge"),
        (["OUT", "OUT"], "OUT"),
        (["random:tiny", "."], "not a bundle"),
    ],
)
def test_the_command_says_it_in_one_line(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("export.__main__.find_source", Mock(side_effect=AssertionError("worked")))
    app = typer.Typer()
    app.command()(main)
    (tmp_path / "beside").touch()
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert named in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]


def quantize_linear(*feeds: dict[str, Any]) -> object:
    return quantize(linear(), graph="linear", feeds=list(feeds), accept=accept)


def wide(value: float) -> dict[str, Any]:
    return {"x": np.full((1, 4, 2), value, dtype=np.float32)}


def quantize_chain(*, scale: float, refusal: str | None, keep: tuple[str, ...] = ()) -> object:
    model = chain(scale)
    return quantize(
        model, graph="chain", feeds=[feed_of(model)], accept=lambda _: refusal, keep=keep
    )


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: quantize_linear(), ValueError, "linear"),
        (lambda: quantize_linear(wide(1), wide(np.nan)), ValueError, "x of feed 1"),
        (lambda: quantize_linear(wide(3e38)), ValueError, "feed 0"),
        (
            lambda: quantize_chain(scale=1.0, refusal=None, keep=("a", "b", "c")),
            VerificationError,
            "chain",
        ),
        (
            lambda: quantize_chain(scale=1000.0, refusal="too blue"),
            VerificationError,
            "too blue; b costs most",
        ),
        (
            lambda: plan_precision(
                small_program(Chain(), width=8),
                graph="chain",
                feeds=CHAIN_FEEDS,
                accept=lambda half: "too red",
            ),
            VerificationError,
            "too red",
        ),
        (
            lambda: halve(tiny_program("clip_head@64"), pinned={"norm:relu", "blocks.9:add"}),
            ValueError,
            "blocks.9:add, norm:relu",
        ),
    ],
)
def test_a_precision(call: Callable[[], object], error: type[Exception], named: str) -> None:
    refused(call, error, named)


def test_an_output_of_another_shape() -> None:
    graph = tiny_graphs()["prompt_encoder"]
    wrong = {"sparse_mask": np.zeros((1, 1), dtype=np.float32)}
    session = FakeSession(graph.contract(), answer=lambda _: wrong)
    feed = {name: tensor.numpy() for name, tensor in graph.example().items()}
    bounds, probes = STORAGE_BOUNDS["fp32"], [Probe(feed, graph.reference(feed))]

    def check() -> object:
        return check_parity(
            session, graph=graph, probes=probes, bounds=bounds, random_weights=True, runs_on="this"
        )

    refused(check, VerificationError, "prompt_encoder")


class Wide(nn.Module):
    """A sum over six axes."""

    def forward(self, text_embeddings: Tensor) -> Tensor:
        x = text_embeddings.reshape(2, 3, 2, 1, 1, 1)
        return (x + text_embeddings.reshape(1, 3, 2, 1, 2, 1)).sum(dim=(1, 2, 4, 5))


def test_more_than_five_axes_in_core_ml(tmp_path: Path) -> None:
    module = Wide()
    spec = TensorSpec(name="text_embeddings", dtype="float32", shape=(12, 1))
    out = TensorSpec(name="image_embedding", dtype="float32", shape=(12, 1))
    graph = Graph("toy", "clip_head", None, module, module, (spec,), (out,))
    program = export_program(module, example={spec.name: torch.zeros(12, 1)}, dynamic_axes={})
    path = tmp_path / "toy.mlpackage"
    refused(
        lambda: to_coreml(program, {path: "as_is"}, graph=graph, axes={}, metadata=METADATA),
        NotImplementedError,
        "add",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda mb, x: mb.ceil(x=x), "ceil"),
        (lambda mb, x: mb.pad(x=x, pad=[1, 1], mode="reflect"), "reflect"),
    ],
)
def test_an_operation_that_the_interpreter_does_not_know(
    tmp_path: Path, build: Callable[..., Any], named: str
) -> None:
    path = save(tmp_path / "odd.mlpackage", build, {"x": (IMAGE.shape, fp32())})
    refused(lambda: MilInterpreter(path).predict({"x": IMAGE}), UnknownOperationError, named)
