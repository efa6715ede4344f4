"""Every artifact of a checkpoint, measured, kept and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import artifacts
from benchmarks.artifacts import add_artifact, add_sets
from benchmarks.pages import RECORDS, ROOT
from benchmarks.suite import Measuring
from benchmarks.table import Part, describe_model, read_table
from export.options import ExportOptions
from samclip_sdk.bundle.open import open_bundle
from tests.benchmarks.measured import found_by, measure, shown
from tests.drawings import TINY_BUNDLE

PUBLISHED = ROOT / RECORDS / "artifacts.jsonl"


def kinds(part: Part) -> set[str]:
    return {split.rpartition(" on ")[2] for split in part.splits()}


def test_artifacts_and_sets_of_a_bundle_are_told() -> None:
    bundle = open_bundle(TINY_BUNDLE)
    graphs = bundle.manifest.model_graphs

    def work(measured: Measuring) -> None:
        measured.model = describe_model(bundle.manifest)
        measured.settings["tensorrt"] = None
        for name, graph in graphs.items():
            for artifact in graph.artifacts:
                add_artifact(measured, bundle, name, artifact, 2_000_000, 0.123, {})
        add_sets(measured, bundle)

    part = measure(work, suite="artifacts")
    name = bundle.manifest.name
    found = {split for split in part.splits(name) if not split.startswith("the model on ")}
    assert len(found) == sum(len(graph.artifacts) for graph in graphs.values())
    text = shown("artifacts", part)
    assert f"## {name}, trained" in text
    assert f"| {next(iter(graphs))} | onnx fp32 | 2.00 | 0.1 |" in text
    whole = part.metrics(name, "the model on onnx fp32")
    assert whole["bytes"].value > 1e6
    assert whole["task/box_mask_iou"].value > 0.99


@pytest.mark.slow
def test_a_checkpoint_is_measured_and_others_stay(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ExportOptions(onnx=("fp32",), coreml=("fp16",), weights="fp16")
    monkeypatch.setattr(artifacts, "OPTIONS", few)
    place = tmp_path / "artifacts.jsonl"
    place.write_bytes(PUBLISHED.read_bytes())
    found_by(place, "artifacts", tiny_checkpoint)
    *others, found = read_table(place).parts
    assert tuple(others) == read_table(PUBLISHED).parts
    assert (found.run.model.name, found.run.model.random_weights) == ("samclip-test", True)
    assert kinds(found) >= {"onnx fp32", "coreml fp16"}
    rows = [each for each in found.rows.values() if each.metric in ("bytes", "seconds")]
    assert all(each.value > 0 for each in rows if each.metric == "bytes")
    assert sum(each.value for each in rows if each.metric == "seconds") > 0
