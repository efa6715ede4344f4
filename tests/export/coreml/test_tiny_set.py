"""samclip-tiny's Core ML set, made from its checkpoint, beside its set of ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle_writer import write_bundle
from export.coreml.artifacts import InterpretedSource
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.client import SamClip
from tests.drawings import TINY_BUNDLE

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_is_made_by_one_command(tmp_path: Path) -> None:
    """Gates on whole tasks and all; then one picture, from end to end."""
    checkpoint = ROOT / "training" / "checkpoints" / "tiny" / "stage3"
    options = ExportOptions(onnx=(), coreml=("fp16",))
    write_bundle(find_source(str(checkpoint)), tmp_path / "bundle", options=options)
    bundle = open_bundle(tmp_path / "bundle")
    assert list(artifact_sets(bundle)) == [("coreml", "fp16")]
    picture, labels = ROOT / "export" / "held_out" / "03.jpg", ["tram", "banknote", "piano"]
    with SamClip(InterpretedSource(bundle, precision="fp16")) as model:
        found = model.segment_text(picture, labels)
    with SamClip.load("onnx", model=TINY_BUNDLE, precision="fp32") as model:
        expected = model.segment_text(picture, labels)
    assert found.present == expected.present == ("tram", "banknote")
    assert found.presence == pytest.approx(expected.presence, abs=0.01)
    assert (found.class_map == expected.class_map).mean() > 0.99
