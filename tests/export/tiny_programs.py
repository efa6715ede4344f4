"""The tiny random model's graphs, and what they are traced to: a second or several for each."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.export import ExportedProgram

from export.graphs import Graph, build_graphs
from samclip_sdk.modeling.build import build_model
from tests.disk_cache import fill
from tests.tiny_config import TINY


@functools.cache
def tiny_graphs() -> dict[str, Graph]:
    """By name, at two resolutions; of the same weights as the tiny checkpoint and bundle."""
    return {
        graph.name: graph for graph in build_graphs(build_model(TINY, seed=1), resolutions=(32, 64))
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Torch warns of tensors that are parts of others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
        yield


@functools.cache
def tiny_program(name: str) -> ExportedProgram:
    """A graph as the exporters start from it. No exporter may change it."""

    def trace(folder: Path) -> None:
        folder.mkdir()
        program = tiny_graphs()[name].trace()
        with quiet():
            torch.export.save(program, folder / "program.pt2")

    with tempfile.TemporaryDirectory() as scratch:
        kept = fill(Path(scratch) / "it", name=f"program.{name}", make=trace)
        with quiet():
            return torch.export.load(kept / "program.pt2")
