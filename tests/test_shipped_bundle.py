"""samclip-tiny as it is shipped: every set of its graphs, and its Core ML set, made anew."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from export.bundle_writer import write_bundle
from export.coreml.artifacts import InterpretedSource
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.client import SamClip
from samclip_sdk.engine import Engine
from samclip_sdk.goldens.graph_checks import graph_checks
from samclip_sdk.model_source import BundleSource
from samclip_sdk.verify.verify import verify_bundle

ROOT = Path(__file__).parents[1]
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


@pytest.mark.slow
def test_its_core_ml_set_is_made_by_one_command(tmp_path: Path) -> None:
    """Gates on whole tasks and all; then one picture, from end to end."""
    checkpoint = ROOT / "training" / "checkpoints" / "tiny" / "stage3"
    options = ExportOptions(onnx=(), coreml=("fp16",))
    write_bundle(find_source(str(checkpoint)), tmp_path / "bundle", options=options)
    bundle = open_bundle(tmp_path / "bundle")
    assert list(artifact_sets(bundle)) == [("coreml", "fp16")]
    picture, labels = ROOT / "examples" / "images" / "lunch.jpg", ["apple", "strawberry", "piano"]
    with SamClip(InterpretedSource(bundle, precision="fp16")) as model:
        found = model.segment_text(picture, labels)
    with SamClip.load("onnx", precision="fp32") as model:
        expected = model.segment_text(picture, labels)
    assert found.present == expected.present == ("apple", "strawberry")
    assert found.presence == pytest.approx(expected.presence, abs=0.01)
    assert (found.class_map == expected.class_map).mean() > 0.99
