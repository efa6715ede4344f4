"""What a checkpoint folder tells about itself reaches the bundle and its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from export.description import describe
from export.model_card import model_card
from export.options import ExportOptions
from export.source import find_config, find_source, read_source, teacher_licences
from samclip_sdk.bundle.manifest import Calibration
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


def test_a_trained_checkpoint_is_not_random_whether_calibrated_or_not(checkpoint: Path) -> None:
    uncalibrated = read_source(checkpoint)
    assert uncalibrated.calibration is None
    described = describe(uncalibrated, options=ExportOptions())
    assert (described.random_weights, described.calibrated) == (False, False)
    (checkpoint / "calibration.json").write_text(json.dumps(CALIBRATION))
    source = read_source(checkpoint)
    assert not source.random_weights
    assert source.calibration == Calibration(**CALIBRATION)
    described = describe(source, options=ExportOptions())
    assert (described.random_weights, described.calibrated) == (False, True)
    assert source.provenance == {"stage": 3}
    assert "Apache" in source.notice


def test_nouns_are_a_list_of_labels(checkpoint: Path) -> None:
    (checkpoint / "nouns.txt").write_text("dog\n\n red panda \n", encoding="utf-8")
    assert read_source(checkpoint).nouns == ("dog", "red panda")
    (checkpoint / "nouns.txt").write_text("dog\nDog\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"cannot be exported: nouns.txt: .*Dog"):
        read_source(checkpoint)
    (checkpoint / "nouns.txt").unlink()
    assert read_source(checkpoint).nouns == ()


def test_random_weights_stay_random_when_calibrated(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    assert read_source(folder).random_weights


REAL = {
    "stage": "stage3",
    "licences": {"sam": "Apache-2.0", "clip": "MIT"},
    "starts_from": {
        "stage": "stage2",
        "starts_from": {
            "kind": "foundation",
            "clip": "ViT-L-14",
            "pretrained": "datacomp_xl_s13b_b90k",
            "sam": "vit_b",
            "sam_checkpoint": "data/sam_vit_b_01ec64.pth",
        },
    },
}


def test_the_teachers_own_licences_are_carried() -> None:
    sam, clip = teacher_licences(REAL)
    assert (sam.part, sam.spdx) == ("weights (SAM teacher)", "Apache-2.0")
    assert sam.source == "vit_b data/sam_vit_b_01ec64.pth"
    assert (clip.part, clip.spdx) == ("weights (CLIP teacher)", "MIT")
    assert clip.source == "ViT-L-14 datacomp_xl_s13b_b90k"


def test_licences_are_found_where_the_teachers_are_told() -> None:
    """A stage may state them itself, or leave it to the one that it started from."""
    moved = {"stage": "stage3", "starts_from": REAL}
    assert teacher_licences(moved) == teacher_licences(REAL)


@pytest.mark.parametrize("licences", [None, {}, {"sam": "", "clip": None}])
def test_a_licence_that_nobody_stated_is_not_made_up(licences: object) -> None:
    provenance = {"stage": "stage3"} | ({} if licences is None else {"licences": licences})
    assert [(each.spdx, each.source) for each in teacher_licences(provenance)] == [
        ("not stated", "not stated")
    ] * 2


@pytest.mark.parametrize("licences", ["Apache-2.0", ["Apache-2.0"], 3])
def test_licences_of_another_kind_are_refused(checkpoint: Path, licences: object) -> None:
    content = json.loads((checkpoint / "config.json").read_text())
    content["provenance"]["licences"] = licences
    (checkpoint / "config.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"provenance\.licences must name sam and clip"):
        read_source(checkpoint)


def test_teachers_that_were_trained_here_are_under_this_repositorys_licence() -> None:
    teachers = {"clip_teacher": {"nouns": 12}, "sam_teacher": {"optimisation": {"steps": 2}}}
    provenance = {"stage": "stage3", "starts_from": {"stage": "stage2", "starts_from": teachers}}
    for licence in teacher_licences(provenance):
        assert licence.spdx == "Apache-2.0"
        assert licence.source == "trained with this package; see NOTICE"


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
    with pytest.raises(BundleError, match="known are mobile, mobileclip, repvit, tiny"):
        find_source("random:huge")
    with pytest.raises(BundleError, match="not a checkpoint folder"):
        find_source("nowhere")
    with pytest.raises(BundleError, match="not a checkpoint folder"):
        find_config("nowhere")
    assert find_config("random:vit_b") == VIT_B


def test_a_config_is_read_without_the_weights(checkpoint: Path, tiny_config: ModelConfig) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"none")
    assert find_config(str(checkpoint)) == tiny_config


def test_card_tells_what_was_measured(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    card = (tiny_bundle / "README.md").read_text(encoding="utf-8")
    assert "**Random weights.**" in card
    assert "Not measured" in card
    assert "image_encoder@64" in card
    card = model_card(manifest, card="## Quality\n\n| box mIoU | 0.84 |\n")
    assert "| box mIoU | 0.84 |" in card
    assert "Not measured" not in card


def test_card_of_real_teachers(tiny_bundle: Path) -> None:
    """Trained weights mean something; thresholds that nobody chose do not, and it says so."""
    manifest = open_bundle(tiny_bundle).manifest.model_copy(
        update={"random_weights": False, "licences": teacher_licences(REAL)}
    )
    card = model_card(manifest, card="")
    assert "means nothing" not in card
    assert "**Not calibrated.**" in card
    assert "| weights (CLIP teacher) | MIT | ViT-L-14 datacomp_xl_s13b_b90k |" in card
    assert "not stated" not in card
    calibrated = manifest.model_copy(update={"calibration": Calibration(**CALIBRATION)})
    assert "**Not calibrated.**" not in model_card(calibrated, card="")
    unknown = manifest.model_copy(update={"licences": teacher_licences({})})
    assert "| weights (SAM teacher) | not stated | not stated |" in model_card(unknown, card="")
    assert "ask them before you ship it" in model_card(unknown, card="")
