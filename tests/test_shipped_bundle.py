"""The embedded bundle as it is shipped, and that of the drawings: every set of their graphs."""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path

import pytest

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.bundle.open import DEFAULT_MODEL, embedded_bundles, open_bundle
from samclip_sdk.device.goldens.graph_checks import graph_checks
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.serve.worker import warm_up
from tests.drawings import TINY_BUNDLE
from tests.processor import openvino_in_int8
from tests.source_tree import ROOT

MODELS = (DEFAULT_MODEL, TINY_BUNDLE)
SETS = [("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8")]


def test_the_default_is_the_one_that_is_embedded() -> None:
    assert embedded_bundles() == (DEFAULT_MODEL,)


@pytest.mark.parametrize("model", MODELS)
def test_holds_three_precisions_in_50_mb(model: str | Path) -> None:
    bundle = open_bundle(model)
    assert list(artifact_sets(bundle)) == SETS
    assert sum(stored.size_bytes for stored in bundle.manifest.stored_files()) < 50e6
    bundle.verify()


@pytest.mark.parametrize(("runtime", "precision"), SETS)
@pytest.mark.parametrize("model", MODELS)
def test_its_graphs_keep_the_goldens(model: str | Path, runtime: str, precision: str) -> None:
    bundle = open_bundle(model)
    source = BundleSource(bundle, runtime=runtime, precision=precision)
    with closing(Engine(source)) as engine:
        checks = list(graph_checks(bundle, engine=engine, precision=precision))
    assert [check.name for check in checks if not check.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "runtime"),
    [
        (DEFAULT_MODEL, "onnx"),
        *(
            pytest.param(model, "openvino", marks=openvino_in_int8)
            for model in (DEFAULT_MODEL, TINY_BUNDLE)
        ),
    ],
)
def test_whole_tasks_in_int8(model: str | Path, runtime: str) -> None:
    report = verify_bundle(model, runtime=runtime, precision="int8")
    report.raise_if_failed()
    assert any("text_mask_iou" in check.name for check in report.checks)


ASKED_BY = {
    "boxes and points": ("image_encoder@576", "prompt_encoder", "mask_decoder"),
    "fixed labels": ("image_encoder@576", "text_to_mask@576"),
    "any words": ("image_encoder@576", "text_to_mask@576", "text_encoder"),
}


@pytest.mark.parametrize("asked_by", ASKED_BY)
def test_the_page_tells_what_an_app_downloads(asked_by: str) -> None:
    manifest = open_bundle(DEFAULT_MODEL).manifest
    sizes = []
    for _, precision in SETS:
        graphs = [manifest.graphs[name] for name in ASKED_BY[asked_by]]
        artifacts = [
            *manifest.graphs["letterbox@576"].artifacts,
            *(each for graph in graphs for each in graph.artifacts if each.precision == precision),
        ]
        files = {file.path: file for each in artifacts for file in (each, *each.weights)}
        if "text_encoder" in ASKED_BY[asked_by]:
            files |= {each.path: each for each in manifest.files if each.path == TOKENIZER_NAME}
        sizes.append(sum(each.size_bytes for each in files.values()) / 1e6)
    page = (ROOT / "docs" / "embed" / "index.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {asked_by} |"))
    assert row.endswith(f"| {' | '.join(f'{size:.1f}' for size in sizes)} |")


def test_the_servers_first_questions_do_not_warn() -> None:
    with SamClip.load("onnx") as model, warnings.catch_warnings():
        warnings.simplefilter("error", UnknownWordWarning)
        warm_up(model)


@pytest.mark.slow
def test_verifying_does_not_warn_of_its_own_questions() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownWordWarning)
        verify_bundle(DEFAULT_MODEL, precision="fp32").raise_if_failed()
