"""Graphs, and what they are traced to: a second or several for each, so they are kept."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.export import ExportedProgram

from export.graphs import Graph, build_graphs
from samclip_sdk.modeling.build import build_model
from tests.disk_cache import keep
from tests.full_size import FEW_LAYERS
from tests.tiny_config import TINY


@functools.cache
def tiny_graphs() -> dict[str, Graph]:
    """By name, at two resolutions; of the same weights as the tiny checkpoint and bundle."""
    return _by_name(build_graphs(build_model(TINY, seed=1), resolutions=(32, 64)))


@functools.cache
def full_size_graphs() -> dict[str, Graph]:
    """Those of ViT-B with few layers, at 336 and 1024 px."""
    return _by_name(build_graphs(build_model(FEW_LAYERS, seed=0), resolutions=(336, 1024)))


def _by_name(graphs: list[Graph]) -> dict[str, Graph]:
    return {graph.name: graph for graph in graphs}


@functools.cache
def tiny_program(name: str) -> ExportedProgram:
    """A graph as the exporters start from it. No exporter may change it."""
    return _program(tiny_graphs()[name], kept=f"program.{name}")


def full_size_program(name: str) -> ExportedProgram:
    """The same of ViT-B with few layers; hundreds of megabytes."""
    return _program(full_size_graphs()[name], kept=f"full_size.{name}")


def _program(graph: Graph, *, kept: str) -> ExportedProgram:
    def trace(folder: Path) -> None:
        folder.mkdir()
        program = graph.trace()
        with _quiet():
            torch.export.save(program, folder / "program.pt2")

    path = keep(kept, make=trace) / "program.pt2"
    with _quiet():
        return torch.export.load(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Torch warns of tensors that are parts of others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
        yield
