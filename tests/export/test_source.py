"""What a checkpoint folder tells about itself reaches the bundle and its card."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from export.description import describe
from export.model_card import model_card
from export.options import ExportOptions
from export.source import find_config, read_source, weight_licences
from export.weight_rounding import round_weights
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.manifest import NOT_STATED, NOUNS_NAME, WORDS_NAME, Calibration, Licence
from samclip_sdk.bundle.open import DEFAULT_MODEL, EMBEDDED, open_bundle
from samclip_sdk.text.vocabulary import read_vocabulary
from tests.label_cases import TABLE
from tests.source_tree import ROOT
from tests.tiny_config import TINY
from training.teachers.licences import JOINT_LICENCES

SHIPPED = ROOT / "training/checkpoints/mobile/refinement"

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


def test_a_table_of_words_is_carried_as_it_is(checkpoint: Path) -> None:
    assert read_source(checkpoint).words == {}
    content = TABLE.model_dump_json().encode()
    (checkpoint / "words.json").write_bytes(content)
    assert read_source(checkpoint).words == {"words.json": content}


def test_nouns_are_a_list_of_labels(checkpoint: Path) -> None:
    (checkpoint / "nouns.txt").write_text("dog\n\n red panda \n", encoding="utf-8")
    source = read_source(checkpoint)
    assert (source.nouns, source.thresholds) == (("dog", "red panda"), {"red panda": 0.75})
    (checkpoint / "thresholds.json").unlink()
    (checkpoint / "nouns.txt").unlink()
    source = read_source(checkpoint)
    assert (source.nouns, source.thresholds) == ((), {})


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


SAM = ("weights (SAM teacher)", "Apache-2.0", "vit_b data/sam_vit_b_01ec64.pth")
CLIP = ("weights (CLIP teacher)", "MIT", "ViT-L-14 datacomp_xl_s13b_b90k")
PARTS = [
    ("weights (backbone)", "Apache-2.0", "https://github.com/some/backbone"),
    ("weights (all others)", "MIT", "trained here"),
]
NO_TEACHERS = {
    "licences": [dict(zip(("part", "spdx", "source"), each, strict=True)) for each in PARTS]
}
HERE = {"clip_teacher": {"nouns": 12}, "sam_teacher": {"optimisation": {"steps": 2}}}
OURS = [(part, "Apache-2.0", "trained with this package; see NOTICE") for part, *_ in (SAM, CLIP)]
NOBODY = [(part, "not stated", "not stated") for part, *_ in (SAM, CLIP)]


@pytest.mark.parametrize(
    ("provenance", "told"),
    [
        (REAL, [SAM, CLIP]),
        (NO_TEACHERS, PARTS),
        ({"stage": "finetune", "starts_from": NO_TEACHERS}, PARTS),
        ({"stage": "stage3", "starts_from": REAL}, [SAM, CLIP]),  # it leaves it to its start
        ({"stage": "stage3", "starts_from": {"starts_from": HERE}}, OURS),
        ({"stage": "stage3"}, NOBODY),
        ({"stage": "stage3", "licences": {"sam": "", "clip": None}}, NOBODY),
    ],
)
def test_the_teachers_own_licences_are_carried(
    provenance: dict[str, Any], told: list[tuple[str, ...]]
) -> None:
    """As some stage states them; a licence that nobody stated is not made up."""
    found = weight_licences(provenance)
    assert [(each.part, each.spdx, each.source) for each in found] == told


def test_revision_names_the_weights_and_the_architecture(checkpoint: Path) -> None:
    revision = read_source(checkpoint).revision
    assert len(revision) == 16
    (checkpoint / "card.md").write_text("It sees drawings.")
    assert read_source(checkpoint).revision == revision
    config = json.loads((checkpoint / "config.json").read_text())
    config["model"]["mask_decoder"]["dynamic_multimask"] = True
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert read_source(checkpoint).revision != revision


def test_a_key_that_configs_got_later_is_no_other_revision(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    del config["model"]["mask_decoder"]["dynamic_multimask"]
    path.write_text(json.dumps(config))
    written = json.dumps(config["model"], separators=(",", ":"))
    weights = file_sha256(checkpoint / "model.safetensors")
    expected = hashlib.sha256(f"{weights} {written}".encode()).hexdigest()[:16]
    assert read_source(checkpoint).revision == expected


def test_the_checkpoint_that_ships_has_the_revision_and_the_names_that_ship() -> None:
    """So a pack that was saved with the model of the package fits one's own export of it."""
    manifest = open_bundle(DEFAULT_MODEL).manifest
    source = round_weights(read_source(SHIPPED))
    assert (source.revision, source.calibration) == (manifest.revision, manifest.calibration)
    assert source.provenance == manifest.provenance["checkpoint"]
    shipped = EMBEDDED / DEFAULT_MODEL
    assert source.nouns == read_vocabulary(shipped / NOUNS_NAME, manifest=manifest).labels
    assert source.words[WORDS_NAME] == (shipped / WORDS_NAME).read_bytes()


def test_a_config_is_read_without_the_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"none")
    assert find_config(str(checkpoint)) == TINY


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
        update={"random_weights": False, "licences": weight_licences(REAL)}
    )
    card = model_card(manifest, card="")
    assert "means nothing" not in card
    assert "**Not calibrated.**" in card
    assert "| weights (CLIP teacher) | MIT | ViT-L-14 datacomp_xl_s13b_b90k |" in card
    assert "not stated" not in card
    calibrated = manifest.model_copy(update={"calibration": Calibration(**CALIBRATION)})
    assert "**Not calibrated.**" not in model_card(calibrated, card="")
    unknown = manifest.model_copy(update={"licences": weight_licences({})})
    assert "| weights (SAM teacher) | not stated | not stated |" in model_card(unknown, card="")
    assert "ask them before you ship it" in model_card(unknown, card="")


def test_card_lists_the_photographs_of_the_training(tiny_bundle: Path) -> None:
    sets = {"pets": "CC-BY-4.0", "streets": "research only"}
    manifest = open_bundle(tiny_bundle).manifest.model_copy(
        update={"provenance": {"checkpoint": {"stage": "merge", "photographs": sets}}}
    )
    card = model_card(manifest, card="")
    assert "trained on 2 sets of photographs, 1 of them for research only" in card
    assert "| pets | CC-BY-4.0 |\n| streets | research only |" in card


def test_the_embedded_model_states_no_teacher_that_it_never_had() -> None:
    """No SAM and no CLIP taught it: its parts began as a classifier's and a text model's."""
    manifest = open_bundle(DEFAULT_MODEL).manifest
    assert not [each for each in manifest.licences if "teacher" in each.part]
    assert not [each for each in manifest.licences if NOT_STATED in (each.spdx, each.source)]
    assert manifest.licences == read_source(SHIPPED).licences
    joint = tuple(Licence.model_validate(each) for each in JOINT_LICENCES)
    assert manifest.licences[: len(joint)] == joint
