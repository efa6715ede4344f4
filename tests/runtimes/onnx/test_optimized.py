"""Optimized graphs in the user's cache: the same answers, and nothing lost if it is of no use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.files import GraphFile, file_sha256
from samclip_sdk.runtimes.onnx import optimized
from samclip_sdk.runtimes.onnx.optimized import OptimizedGraph
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.system.user_folders import user_cache
from tests.runtimes.test_sessions import SPEC, check, feed, write_onnx


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GraphFile:
    """A graph with weights, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_onnx(tmp_path / "graph.onnx")
    return GraphFile(path, sha256=file_sha256(path))


def ask(file: GraphFile, *, keep: bool = True) -> None:
    session = open_session(
        "onnx", files=[file], spec=SPEC, options=RuntimeOptions(keep_compiled=keep)
    )
    check(session, feed())
    session.close()


def kept() -> dict[str, bytes]:
    folder = user_cache("onnxruntime")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_optimized_graph_is_kept_and_opened(file: GraphFile) -> None:
    ask(file)
    content = kept()
    (folder,) = user_cache("onnxruntime").iterdir()
    assert folder.name.startswith("graph-")
    assert {f"{folder.name}/graph.onnx", f"{folder.name}/key.json"} <= content.keys()
    file.path.write_bytes(b"no graph")  # its digest is what counts
    ask(file)
    assert kept() == content


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_damaged_one_counts_for_nothing_and_is_replaced(file: GraphFile, content: bytes) -> None:
    ask(file)
    before = kept()
    (folder,) = user_cache("onnxruntime").iterdir()
    (folder / "graph.onnx").write_bytes(content)
    ask(file)
    assert kept() == before


def test_one_that_onnxruntime_refuses_is_replaced(
    file: GraphFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(file)
    before = kept()
    (folder,) = user_cache("onnxruntime").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(OptimizedGraph, "find", lambda _self: file.path.with_name("absent.onnx"))
        ask(file)
    assert kept() == before
    assert [folder] == [*user_cache("onnxruntime").iterdir()]


def test_another_version_takes_its_place(file: GraphFile, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(file)
    before = kept()
    graph = OptimizedGraph(file, settings={})
    monkeypatch.setattr(optimized, "import_onnxruntime", lambda: np)  # it has a __version__, too
    other = OptimizedGraph(file, settings={})
    assert other.folder == graph.folder
    ask(file)
    assert kept().keys() == before.keys()
    assert kept() != before


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_is_kept_where_it_cannot_or_shall_not(file: GraphFile, keep: bool) -> None:
    folder = user_cache("onnxruntime")
    if keep:
        folder.parent.mkdir(parents=True)
        folder.write_text("a file in its place")
    ask(file, keep=keep)
    assert folder.is_file() == keep
