"""The default model, exported from its checkpoint by the first command of the page on exports.

It asks for Core ML too, so that one export serves both tests.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from export.coreml.artifacts import InterpretedSource
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.client import SamClip
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from tests.export.test_main import run_export, shown_commands
from tests.source_tree import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported") / "my-bundle"


@pytest.fixture(scope="module")
def done(out: Path) -> subprocess.CompletedProcess[str]:
    checkpoint, _ = shown_commands()[0]
    done = run_export(checkpoint, str(out), "--onnx", "fp32", "--coreml", "fp16")
    assert done.returncode == 0, done.stderr
    return done


def test_tells_whose_weights_they_are(done: subprocess.CompletedProcess[str], out: Path) -> None:
    assert done.stdout.startswith(f"{out}: samclip-mobile ")
    bundle = open_bundle(out)
    bundle.verify()
    assert not bundle.manifest.random_weights
    assert bundle.manifest.calibrated
    assert "Apache-2.0" in {each.spdx for each in bundle.manifest.licences}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "means nothing" not in card
    assert "Not calibrated" not in card


@pytest.mark.usefixtures("done")
def test_core_ml_answers_as_onnx_does(out: Path) -> None:
    """The gates on whole tasks are passed; then one image, from end to end."""
    bundle = open_bundle(out)
    assert list(artifact_sets(bundle)) == [("onnx", "fp32"), ("coreml", "fp16")]
    image, labels = ROOT / "examples" / "images" / "dog.jpg", ["dog", "cat", "boat"]
    with SamClip(InterpretedSource(bundle, precision="fp16")) as model:
        found = model.segment_text(image, labels)
    with SamClip.load("onnx", model=out, precision="fp32") as model:
        expected = model.segment_text(image, labels)
    assert found.labels == expected.labels == ("dog",)
    assert found.asked.presence == pytest.approx(expected.asked.presence, abs=0.01)
    assert (found.class_map == expected.class_map).mean() > 0.99
