"""samclip-tiny as it is shipped: every set of its graphs."""

from __future__ import annotations

from contextlib import closing

import pytest

from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.engine import Engine
from samclip_sdk.goldens.graph_checks import graph_checks
from samclip_sdk.model_source import BundleSource
from samclip_sdk.verify.verify import verify_bundle

SETS = [("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8")]


def test_holds_three_precisions_in_less_than_40_mb() -> None:
    bundle = open_bundle("samclip-tiny")
    assert list(artifact_sets(bundle)) == SETS
    assert sum(stored.size_bytes for stored in bundle.manifest.stored_files()) < 40e6
    bundle.verify()


@pytest.mark.parametrize(("runtime", "precision"), SETS)
def test_its_graphs_keep_the_goldens(runtime: str, precision: str) -> None:
    bundle = open_bundle("samclip-tiny")
    source = BundleSource(bundle, runtime=runtime, precision=precision)
    with closing(Engine(source)) as engine:
        checks = list(graph_checks(bundle, engine=engine, precision=precision))
    assert [check.name for check in checks if not check.passed] == []


@pytest.mark.slow
def test_whole_tasks_in_int8() -> None:
    report = verify_bundle("samclip-tiny", runtime="openvino", precision="int8")
    report.raise_if_failed()
    assert any("text_mask_iou" in check.name for check in report.checks)
