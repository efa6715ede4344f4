"""Core ML packages of the tiny random model, each converted once."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from torch import nn

from export.buckets import bucket_axes, bucket_example
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import PARTS, TENSORS, PackageMetadata, Weights, to_coreml
from export.graphs import Graph, build_graphs
from export.precision.mixed_precision import contract_operations, halve
from export.probes import Probe, probe_graphs
from export.program import export_program
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.manifest import ImageSpec
from samclip_sdk.modeling.build import build_model
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from tests.disk_cache import fill
from tests.tiny_config import ONE_RESOLUTION

METADATA = PackageMetadata(
    model="samclip-test", version="seed 1", author="nobody", licence="Apache-2.0"
)

HALVED: dict[str, tuple[Weights, ...]] = {
    "text_encoder": ("as_is", "int8", "palette6"),
    "prompt_encoder": ("as_is", "int8"),
}
"""How the weights of a part's fp16 package are stored, where not only as they are."""


@functools.cache
def folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="coreml-packages-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def graphs() -> dict[str, Graph]:
    """By part; there is one resolution only."""
    model = build_model(ONE_RESOLUTION, seed=1)
    return {graph.part: graph for graph in build_graphs(model, resolutions=[64])}


@functools.cache
def probes() -> dict[str, list[Probe]]:
    """Part -> inputs and eager torch's outputs."""
    ids = np.full((4, 77), 49407, dtype=np.int32)
    ids[:, 1] = [5, 6, 7, 8]
    found = probe_graphs(
        list(graphs().values()),
        resolution=64,
        image=ImageSpec(patch_size=8),
        token_ids=[ids[:1], ids[1:]],
    )
    return {name.partition("@")[0]: each for name, each in found.items()}


@functools.cache
def packages(part: str, *, bucket: int) -> Path:
    """A folder of a bucket's packages in fp32 and, of the first one, in fp16: traced once."""

    def convert(target: Path) -> None:
        graph = graphs()[part]
        axes = bucket_axes(graph)[bucket]
        program = export_program(
            graph.module, example=bucket_example(graph, axes=axes), dynamic_axes={}
        )
        target.mkdir()
        if bucket == 0:
            half = halve(program, pinned=contract_operations(program))
            kinds = {target / _name("fp16", each): each for each in HALVED.get(part, ("as_is",))}
            to_coreml(half, kinds, graph=graph, axes=axes, metadata=METADATA)
        full: dict[Path, Weights] = {target / _name("fp32", "as_is"): "as_is"}
        to_coreml(program, full, graph=graph, axes=axes, metadata=METADATA)

    name = f"coreml.{part}.{bucket}"
    return fill(folder() / name, name=name, make=convert)


def package(part: str, *, bucket: int, precision: str, weights: Weights) -> Path:
    return packages(part, bucket=bucket) / _name(precision, weights)


def _name(precision: str, weights: Weights) -> str:
    return f"{precision}.{weights}.mlpackage"


def open_session(
    part: str,
    *,
    precision: str = "fp32",
    weights: Weights = "as_is",
    buckets: Sequence[int] = (0, 1),
) -> CoreMLSession:
    """A part in the interpreter, in those of its buckets."""
    graph = graphs()[part]
    axes = bucket_axes(graph)
    files = [
        GraphFile(
            package(part, bucket=bucket, precision=precision, weights=weights) / "Manifest.json",
            axes=axes[bucket],
        )
        for bucket in buckets[: len(axes)]
    ]
    return CoreMLSession(files, spec=graph.contract(), load=MilInterpreter.load)


def convert_module(module: nn.Module, *, spec: GraphSpec, folder: Path) -> list[GraphFile]:
    """Any module of one batch axis, as packages of two buckets."""
    graph = Graph("toy", "toy", None, module, module, spec.inputs, spec.outputs)
    names = {tensor.name: "" for tensor in (*spec.inputs, *spec.outputs)}
    files = []
    for number, axes in enumerate(bucket_axes(graph)):
        path = folder / f"{number}.mlpackage"
        program = export_program(module, example=bucket_example(graph, axes=axes), dynamic_axes={})
        with mock.patch.dict(TENSORS, names), mock.patch.dict(PARTS, toy="a module"):
            to_coreml(program, {path: "as_is"}, graph=graph, axes=axes, metadata=METADATA)
        files.append(GraphFile(path / "Manifest.json", axes=axes))
    return files


def error(found: Mapping[str, Any], *, expected: Mapping[str, Any]) -> float:
    """The largest error of all outputs, each relative to the largest value that is expected."""
    assert set(found) == set(expected)
    return max(
        float(np.abs(found[name] - wanted).max() / (np.abs(wanted).max() or 1.0))
        for name, wanted in expected.items()
    )
