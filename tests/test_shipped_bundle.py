"""The embedded bundle as it is shipped, and that of the drawings: every set of their graphs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from samclip_sdk.bundle.open import DEFAULT_MODEL, embedded_bundles, open_bundle
from samclip_sdk.device.goldens.graph_checks import graph_checks
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.engine.engine import Engine
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.source import BundleSource
from tests.drawings import TINY_BUNDLE
from tests.processor import openvino_in_int8

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
    # Where a CPU has bf16, OpenVINO computes int8's other layers in it: too coarse for mobile.
    ("model", "runtime"),
    [(DEFAULT_MODEL, "onnx"), pytest.param(TINY_BUNDLE, "openvino", marks=openvino_in_int8)],
)
def test_whole_tasks_in_int8(model: str | Path, runtime: str) -> None:
    report = verify_bundle(model, runtime=runtime, precision="int8")
    report.raise_if_failed()
    assert any("text_mask_iou" in check.name for check in report.checks)
