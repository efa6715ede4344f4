"""Parts that samclip-tiny has not, on every runtime in every precision, with random weights.

An encoder with BatchNorms, of which none may be left, and with finer features, a classifier's head,
a decoder with local blocks, and the bert kind of text encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from PIL import Image
from torch.export import ExportedProgram

from export.apps.writer import text_to_mask_graph
from export.buckets import bucket_example
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import to_coreml
from export.description import describe
from export.external_weights import halve_weights
from export.graphs import Graph, build_graphs
from export.options import ExportOptions
from export.precision.activation_ranges import collect_ranges
from export.precision.mixed_precision import contract_operations, halve
from export.precision.quantized_layers import insert_pairs
from export.program import export_program
from export.source import random_source
from export.to_onnx import data_dependent_operators, to_onnx
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.openvino.session import OpenVINOSession
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from tests.batch_norms import batch_norms, draw_batch_norms
from tests.coreml_packages import METADATA, error
from tests.graph_feeds import draw_feed
from tests.processor import openvino_in_int8
from tests.runtimes.tensorrt.fake_tensorrt import GPU
from tests.tiny_config import MOBILE, PYRAMID_STUDENT, STUDENT

pytestmark = pytest.mark.slow

SIDE_PX = 96
AXES = {"num_prompts": 3, "num_points": 5, "num_texts": 5, "num_tokens": 24} | {
    # Of an image without the padding to a square.
    "height": 32,
    "width": 64,
    "rows": 2,
    "columns": 4,
}
SIZES = tuple({"height": y, "width": x} for y, x in ((32, 64), (64, 32), (32, 96), (96, 96)))
CLIP_START, START = 49406, 101


def preset(name: str) -> ModelConfig:
    """A preset's image encoder at a small resolution."""
    encoder = PRESETS[name].image_encoder.model_copy(update={"image_size_px": SIDE_PX})
    student = PYRAMID_STUDENT if encoder.kind == "pyramid" else STUDENT
    return student.model_copy(update={"image_encoder": encoder})


OF_PRESETS = {
    name: (preset(name), "image_encoder")
    for name, each in PRESETS.items()
    if each.image_encoder.kind != "vit_det"
}
PARTS: dict[str, tuple[ModelConfig, str]] = {
    "pyramid": (MOBILE, "image_encoder"),
    "classifier head": (MOBILE, "clip_head"),
    "bert": (MOBILE, "text_encoder"),
    "local blocks": (MOBILE, "mask_decoder"),
    **OF_PRESETS,
}
FINITE = float("inf")
"""The bound where random weights are worth nothing in int8: the graph runs."""

parts = pytest.mark.parametrize("part", PARTS)


@functools.cache
def graph_of(part: str) -> Graph:
    config, name = PARTS[part]
    model = build_model(config, seed=1)
    draw_batch_norms(model, seed=2)
    if part == "classifier head":
        torch.nn.init.normal_(model.clip_head.cells.outward.weight)
    if part == "local blocks":
        torch.nn.init.normal_(model.mask_decoder.local_blocks[0].lin2.weight)
    (found,) = (g for g in build_graphs(model, resolutions=[SIDE_PX]) if g.part == name)
    return found


@functools.cache
def programs(part: str) -> tuple[ExportedProgram, ExportedProgram]:
    """In fp32 and in fp16; torch would fix an axis of the first where the second asks about it."""
    program = graph_of(part).trace()
    return program, halve(program, pinned=contract_operations(program))


def feed_of(
    graph: Graph, inputs: Sequence[TensorSpec] | None = None, **axes: int
) -> dict[str, np.ndarray]:
    """Of the shortest inputs that an ONNX file takes, or of others."""
    feed = draw_feed(graph.traced_inputs() if inputs is None else inputs, **AXES | axes)
    if graph.part == "text_encoder":
        ids = feed["input_ids"]
        feed["input_ids"] = np.where(ids >= CLIP_START, ids - CLIP_START + START, ids)
    return feed


def write_onnx(part: str, path: Path, *, precision: str) -> Path:
    """In the precisions of a bundle; int8 with every layer that can be in int8."""
    graph, program = graph_of(part), programs(part)[precision == "fp16"]
    model = to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs)
    if precision == "int8":
        ranges = collect_ranges(model, graph=graph.name, feeds=[feed_of(graph)])
        model = insert_pairs(model, layers=list(ranges), ranges=ranges)
    if graph.part == "text_encoder" and precision != "fp16":
        halve_weights(model)
    assert not data_dependent_operators(model)
    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    ir.save(model, path)
    return path


def check(session: Session, graph: Graph, *, bound: float) -> None:
    for axes in SIZES if graph.part == "image_encoder" else ({},):
        feed = feed_of(graph, **axes)
        found = session.run(feed)
        assert all(np.isfinite(each).all() for each in found.values())
        assert error(found, expected=graph.reference(feed)) < bound
    session.close()


def bound_of(part: str, precision: str) -> float:
    if part in OF_PRESETS:
        return {"fp32": 1e-4, "fp16": 5e-2, "int8": FINITE}[precision]
    # The weights of the text encoder are stored in fp16.
    return {"fp32": 2e-3 if part == "bert" else 1e-5, "fp16": 1e-2, "int8": 0.3}[precision]


@parts
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_in_onnx(part: str, precision: str, tmp_path: Path) -> None:
    """On onnxruntime, OpenVINO and, as far as it goes without a GPU, TensorRT."""
    graph = graph_of(part)
    assert bool(batch_norms(graph.eager)) == (graph.part == "image_encoder")
    path, spec = write_onnx(part, tmp_path / "graph.onnx", precision=precision), graph.contract()
    bound = bound_of(part, precision)
    check(OrtSession(GraphFile(path), spec=spec), graph, bound=bound)
    assert len(build_engine(path, spec=spec, gpu=GPU)) > 10_000
    if precision == "fp32":
        check(OpenVINOSession(GraphFile(path), spec=spec), graph, bound=bound)


@openvino_in_int8
def test_bert_in_int8_on_openvino(tmp_path: Path) -> None:
    graph, path = graph_of("bert"), write_onnx("bert", tmp_path / "a.onnx", precision="int8")
    session = OpenVINOSession(GraphFile(path, precision="fp32"), spec=graph.contract())
    check(session, graph, bound=0.3)


@parts
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_in_core_ml(part: str, precision: str, tmp_path: Path) -> None:
    graph = graph_of(part)
    axes = {axis: AXES[axis] for spec in graph.inputs for axis in spec.shape if axis in AXES}
    program = export_program(
        graph.module, example=bucket_example(graph, axes=axes), dynamic_axes={}
    )
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    path = tmp_path / "part.mlpackage"
    to_coreml(program, {path: "as_is"}, graph=graph, axes=axes, metadata=METADATA)
    feed: Mapping[str, Any] = feed_of(graph, graph.inputs)
    if "image" in feed:
        given = {"image": Image.fromarray(feed["image"][0].transpose(1, 2, 0))}
    else:
        given = dict(feed)
    found = MilInterpreter(path).predict(given)
    assert error(found, expected=graph.reference(feed)) < bound_of(part, precision)


def test_text_to_mask_in_core_ml(tmp_path: Path) -> None:
    source = random_source(MOBILE, seed=1)
    graph = text_to_mask_graph(source.model, describe(source, options=ExportOptions()))
    feed = draw_feed(graph.inputs, num_texts=2) | {"extent": np.array([41, 64], np.float32)}
    example = {name: torch.from_numpy(each) for name, each in feed.items()}
    program = export_program(graph.module, example=example, dynamic_axes={})
    path = tmp_path / "text_to_mask.mlpackage"
    to_coreml(program, {path: "as_is"}, graph=graph, axes={"num_texts": 2}, metadata=METADATA)
    assert error(MilInterpreter(path).predict(feed), expected=graph.reference(feed)) < 1e-3
