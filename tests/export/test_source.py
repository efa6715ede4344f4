"""What a checkpoint folder tells about itself reaches the bundle and its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from export.model_card import model_card
from export.source import LICENCES, find_source, read_source
from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.config import VIT_B, ModelConfig

CALIBRATION = {
    "scale": 40.0,
    "bias": 0.2,
    "mask_threshold_score": 0.5,
    "presence_threshold": 0.4,
    "head_only_threshold": 0.6,
}


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may change, said to be trained."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    content = json.loads((folder / "config.json").read_text())
    content["provenance"] = {"stage": 3}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_calibrated_checkpoint_is_no_longer_random(checkpoint: Path) -> None:
    assert read_source(checkpoint).random_weights
    assert read_source(checkpoint).calibration == UNCALIBRATED
    (checkpoint / "calibration.json").write_text(json.dumps(CALIBRATION))
    source = read_source(checkpoint)
    assert not source.random_weights
    assert source.calibration.model_dump() == CALIBRATION
    assert source.provenance == {"stage": 3}
    assert source.licences == LICENCES
    assert "Apache" in source.notice


def test_random_weights_stay_random_when_calibrated(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    assert read_source(folder).random_weights


def test_revision_names_the_weights(checkpoint: Path, tiny_config: ModelConfig) -> None:
    revision = read_source(checkpoint).revision
    assert len(revision) == 16
    (checkpoint / "card.md").write_text("It sees drawings.")
    assert read_source(checkpoint).revision == revision


@pytest.mark.parametrize("damage", ["{", '{"scale": -1}', '{"temperature": 2}'])
def test_damaged_calibration_is_refused(checkpoint: Path, damage: str) -> None:
    (checkpoint / "calibration.json").write_text(damage)
    with pytest.raises(BundleError, match="cannot be exported"):
        read_source(checkpoint)


def test_names_of_sources() -> None:
    with pytest.raises(BundleError, match="known are tiny, vit_b"):
        find_source("random:huge")
    with pytest.raises(BundleError, match="not a checkpoint folder"):
        find_source("nowhere")
    assert VIT_B.name == "samclip-vit-b"


def test_card_tells_what_was_measured(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    card = (tiny_bundle / "README.md").read_text(encoding="utf-8")
    assert "Random or uncalibrated weights" in card
    assert "Not measured" in card
    assert "image_encoder@64" in card
    card = model_card(manifest, card="## Quality\n\n| box mIoU | 0.84 |\n")
    assert "| box mIoU | 0.84 |" in card
    assert "Not measured" not in card
