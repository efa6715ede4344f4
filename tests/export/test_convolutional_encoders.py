"""What a convolutional model has and a ViT's has not, on every runtime: no BatchNorm is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.export import ExportedProgram

from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import bucket_example, to_coreml
from export.graphs import Graph, build_graphs
from export.precision.activation_ranges import collect_ranges
from export.precision.mixed_precision import contract_operations, halve
from export.precision.quantized_layers import insert_pairs
from export.program import export_program
from export.to_onnx import data_dependent_operators, to_onnx
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import PRESETS
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.openvino.session import OpenVINOSession
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from tests.batch_norms import batch_norms, draw_batch_norms
from tests.coreml_packages import METADATA, error
from tests.student import PYRAMID_STUDENT, STUDENT

GPU = Gpu(name="NVIDIA Pretend 4090", compute_capability="8.9")
SIDE_PX = 64
AXES = {"num_prompts": 3, "num_points": 5}


def picture() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (1, 3, SIDE_PX, SIDE_PX)).astype(np.uint8)


def encoder_graph(model: SamClipModel) -> Graph:
    (found,) = (
        each for each in build_graphs(model, resolutions=[SIDE_PX]) if each.part == "image_encoder"
    )
    return found


def run_in_coreml(
    graph: Graph, path: Path, *, precision: str, feed: Mapping[str, Any] | None = None
) -> tuple[dict[str, NDArray[np.float32]], set[str]]:
    """The outputs for a feed, the picture if none is given, and the kinds of operations."""
    program = export_program(
        graph.module, example=bucket_example(graph, axes=AXES), dynamic_axes={}
    )
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    to_coreml(program, {path: "as_is"}, graph=graph, axes=AXES, metadata=METADATA)
    interpreter = MilInterpreter(path)
    image = {"image": Image.fromarray(picture()[0].transpose(1, 2, 0))}
    found = interpreter.predict(image if feed is None else feed)
    return found, {step.kind for step in interpreter._steps}


@pytest.fixture(scope="module")
def graph() -> Graph:
    model = build_model(PYRAMID_STUDENT, seed=1)
    draw_batch_norms(model, seed=2)
    return encoder_graph(model)


def test_no_batch_norm_is_left_in_onnx(graph: Graph, tmp_path: Path) -> None:
    assert batch_norms(graph.eager)
    path = tmp_path / "encoder.onnx"
    write_onnx(graph, path, precision="fp32")
    session = OrtSession(path, spec=graph.contract())
    found = session.run({"image": picture()})
    session.close()
    assert error(found, expected=graph.reference({"image": picture()})) < 1e-5


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_no_batch_norm_is_left_in_coreml(
    graph: Graph, tmp_path: Path, precision: str, bound: float
) -> None:
    found, kinds = run_in_coreml(graph, tmp_path / "encoder.mlpackage", precision=precision)
    assert "conv" in kinds
    assert "batch_norm" not in kinds
    assert error(found, expected=graph.reference({"image": picture()})) < bound


@pytest.fixture(scope="module", params=["clip_head", "mask_decoder"])
def head_graph(request: pytest.FixtureRequest) -> Graph:
    """What a classifier's layers are with their correction, or a decoder with local blocks."""
    model = build_model(PYRAMID_STUDENT, seed=1)
    torch.nn.init.normal_(model.clip_head.cells.outward.weight)
    torch.nn.init.normal_(model.mask_decoder.local_blocks[0].lin2.weight)
    graphs = build_graphs(model, resolutions=[SIDE_PX])
    (found,) = (each for each in graphs if each.part == request.param)
    return found


@pytest.fixture(scope="module")
def head_program(head_graph: Graph) -> ExportedProgram:
    return head_graph.trace()


def head_feed(graph: Graph) -> dict[str, np.ndarray]:
    """Noise, of a picture with padding below, and with a prompt's last point as filler."""
    generator, feed = np.random.default_rng(0), {}
    for spec in graph.inputs:
        shape = [AXES.get(axis, axis) for axis in spec.shape]
        feed[spec.name] = generator.normal(size=shape).astype(np.float32)
        if spec.name in ("token_mask", "sparse_mask"):
            feed[spec.name][:] = 1
            feed[spec.name][:, -1:] = 0
    return feed


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 0.1)])
def test_a_head_in_onnx(
    head_graph: Graph,
    head_program: ExportedProgram,
    tmp_path: Path,
    precision: str,
    bound: float,
) -> None:
    path, feed = tmp_path / "head.onnx", head_feed(head_graph)
    write_onnx(head_graph, path, precision=precision, program=head_program, feed=feed)
    session = OrtSession(path, spec=head_graph.contract())
    assert error(session.run(feed), expected=head_graph.reference(feed)) < bound
    session.close()


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_a_head_in_coreml(head_graph: Graph, tmp_path: Path, precision: str, bound: float) -> None:
    feed = head_feed(head_graph)
    found, _ = run_in_coreml(
        head_graph, tmp_path / "head.mlpackage", precision=precision, feed=feed
    )
    assert error(found, expected=head_graph.reference(feed)) < bound


CONVOLUTIONAL = [name for name, each in PRESETS.items() if each.image_encoder.kind != "vit_det"]


@pytest.fixture(scope="module", params=CONVOLUTIONAL)
def encoder(request: pytest.FixtureRequest) -> Graph:
    """A preset's image encoder at a small resolution, with random weights."""
    encoder = PRESETS[request.param].image_encoder.model_copy(update={"image_size_px": SIDE_PX})
    student = PYRAMID_STUDENT if encoder.kind == "pyramid" else STUDENT
    model = build_model(student.model_copy(update={"image_encoder": encoder}), seed=1)
    draw_batch_norms(model, seed=2)
    return encoder_graph(model)


@pytest.fixture(scope="module")
def program(encoder: Graph) -> ExportedProgram:
    """The encoder as exporters to ONNX start from it, in each precision."""
    return encoder.trace()


def write_onnx(
    graph: Graph,
    path: Path,
    *,
    precision: str,
    program: ExportedProgram | None = None,
    feed: Mapping[str, Any] | None = None,
) -> None:
    """In the precisions of a bundle; int8 with every layer that can be in int8."""
    program = graph.trace() if program is None else program
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    model = to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs)
    if precision == "int8":
        ranges = collect_ranges(
            model, graph=graph.name, feeds=[{"image": picture()} if feed is None else feed]
        )
        model = insert_pairs(model, layers=list(ranges), ranges=ranges)
    assert not data_dependent_operators(model)
    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    ir.save(model, path)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 5e-2), ("int8", None)])
def test_a_presets_encoder_in_onnx(
    encoder: Graph,
    program: ExportedProgram,
    tmp_path: Path,
    precision: str,
    bound: float | None,
) -> None:
    """On onnxruntime, OpenVINO and, as far as it goes without a GPU, TensorRT."""
    path, spec = tmp_path / "encoder.onnx", encoder.contract()
    write_onnx(encoder, path, precision=precision, program=program)
    expected = encoder.reference({"image": picture()})
    sessions: list[Session] = [OrtSession(path, spec=spec)]
    if precision != "fp16":  # which OpenVINO gets as fp32, with a plan of its own
        sessions.append(OpenVINOSession(GraphFile(path, precision=precision), spec=spec))
    for session in sessions:
        found = session.run({"image": picture()})
        session.close()
        if bound is None:  # random weights are worth nothing in int8: it runs
            assert all(np.isfinite(each).all() for each in found.values())
        else:
            assert error(found, expected=expected) < bound
    assert len(build_engine(path, spec=spec, gpu=GPU)) > 100_000


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 5e-2)])
def test_a_presets_encoder_in_coreml(
    encoder: Graph, tmp_path: Path, precision: str, bound: float
) -> None:
    found, kinds = run_in_coreml(encoder, tmp_path / "encoder.mlpackage", precision=precision)
    assert "batch_norm" not in kinds
    assert error(found, expected=encoder.reference({"image": picture()})) < bound
