"""The bert kind of text encoder on every runtime, from its own graph, of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from torch.export import ExportedProgram

from export.bundle_writer import write_bundle
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import bucket_axes, bucket_example, to_coreml
from export.external_weights import halve_weights
from export.graphs import Graph, build_graphs
from export.options import ExportOptions
from export.precision.mixed_precision import contract_operations, halve
from export.precision.quantize import quantize
from export.probes import Probe, without_padding
from export.program import export_program
from export.source import random_source
from export.to_onnx import data_dependent_operators, to_onnx
from samclip_sdk import SamClip
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.openvino.session import OpenVINOSession
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from tests.coreml_packages import METADATA, error
from tests.processor import openvino_in_int8
from tests.tiny_config import TINY

VOCAB_SIZE = 30522
CONFIG = TINY.model_copy(
    update={
        "text_encoder": BertTextConfig(
            context_length=12,
            width=32,
            num_heads=4,
            depth=2,
            mlp_dim=48,
            embedding_width=8,
            hidden_dim=40,
            templates=("a photo of a {}.",),
        )
    }
)
START, END = 101, 102


@pytest.fixture(scope="module")
def graph() -> Graph:
    graphs = build_graphs(build_model(CONFIG, seed=1), resolutions=(32,))
    return next(graph for graph in graphs if graph.part == "text_encoder")


@pytest.fixture(scope="module")
def program(graph: Graph) -> ExportedProgram:
    return graph.trace()


@pytest.fixture(scope="module")
def probes(graph: Graph) -> list[Probe]:
    """One text; and five: empty, short, up to the context, and not."""
    return [
        Probe(feed, graph.reference(feed)) for feed in ({"input_ids": texts(4)}, feed_of_five())
    ]


def texts(*lengths: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(len(lengths))
    ids = np.zeros((len(lengths), 12), dtype=np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[: length + 2] = [START, *rng.integers(1000, VOCAB_SIZE, size=length), END]
    return ids


def feed_of_five() -> dict[str, NDArray[np.int32]]:
    return {"input_ids": texts(0, 1, 3, 8, 10)}


def model(graph: Graph, program: ExportedProgram, precision: str) -> ir.Model:
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    made = to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs)
    if precision == "int8":
        feeds = [feed_of_five()]
        made = quantize(made, graph=graph.name, feeds=feeds, accept=lambda path: None).model
    if precision != "fp16":
        halve_weights(made)
    return made


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def onnx_file(
    request: pytest.FixtureRequest,
    graph: Graph,
    program: ExportedProgram,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    made = model(graph, program, request.param)
    assert not data_dependent_operators(made)
    path = tmp_path_factory.mktemp("onnx") / "text_encoder.onnx"
    ir.save(made, path)
    return request.param, path


BOUNDS = {"fp32": 2e-3, "fp16": 5e-3, "int8": 0.1}  # weights are stored in fp16


def check(session: Session, probes: list[Probe], bound: float) -> None:
    for probe in probes:
        assert error(session.run(probe.feed), expected=probe.expected) < bound
    session.close()


def test_onnxruntime(graph: Graph, probes: list[Probe], onnx_file: tuple[str, Path]) -> None:
    precision, path = onnx_file
    short = [without_padding(probe) for probe in probes[:1]]
    assert short[0].feed["input_ids"].shape == (1, 6)
    check(OrtSession(path, spec=graph.contract()), probes + short, BOUNDS[precision])


@pytest.mark.other_runtime
@pytest.mark.parametrize(
    "onnx_file",
    ["fp32", "fp16", pytest.param("int8", marks=openvino_in_int8)],
    indirect=True,
)
def test_openvino(graph: Graph, probes: list[Probe], onnx_file: tuple[str, Path]) -> None:
    precision, path = onnx_file
    session = OpenVINOSession(GraphFile(path, precision="fp32"), spec=graph.contract())
    check(session, probes, BOUNDS[precision])


@pytest.mark.other_runtime
def test_tensorrt_builds(graph: Graph, onnx_file: tuple[str, Path]) -> None:
    pytest.importorskip("tensorrt_rtx")
    gpu = Gpu(name="NVIDIA Pretend 4090", compute_capability="8.9")
    assert len(build_engine(onnx_file[1], spec=graph.contract(), gpu=gpu)) > 10_000


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_core_ml(
    graph: Graph, probes: list[Probe], tmp_path: Path, precision: str, bound: float
) -> None:
    axes = bucket_axes(graph)[1]
    made = export_program(graph.module, example=bucket_example(graph, axes=axes), dynamic_axes={})
    if precision == "fp16":
        made = halve(made, pinned=contract_operations(made))
    package = tmp_path / "text_encoder.mlpackage"
    to_coreml(made, {package: "as_is"}, graph=graph, axes=axes, metadata=METADATA)
    files = [GraphFile(package / "Manifest.json", axes=axes)]
    check(CoreMLSession(files, spec=graph.contract(), load=MilInterpreter.load), probes, bound)


@pytest.mark.slow
def test_a_whole_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle(
        random_source(CONFIG, seed=1), folder, options=ExportOptions(onnx=("fp32", "int8"))
    )
    verify_bundle(folder, precision="int8").raise_if_failed()
    with SamClip.load("onnx", model=folder) as samclip:
        assert samclip.manifest.text.templates == ("a photo of a {}.",)
        assert samclip.manifest.text.context_length == 12
        found = samclip.embed_text(["a dog", "A  DOG", "a cat"])
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2], atol=1e-3)
