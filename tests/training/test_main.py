"""Every stage of the tiny config for a few steps, as a person would run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from training.__main__ import app
from training.config import ClipTeacherConfig
from training.stages import publish

STEPS = ("optimisation.steps=2", "optimisation.workers=0", "optimisation.threads=1")
PICTURES = ("pictures.resolutions=[96]", "pictures.pixels_per_batch=18432")
SCENES = ("scenes.batch=1", "scenes.prompts=2")
STAGES = {
    "clip_teacher": (
        'image_tower="test_resnet"',
        "nouns=12",
        "text_only_steps=1",
        "pictures.resolutions=[32]",
        "pictures.pixels_per_batch=4096",
        *STEPS,
    ),
    "sam_teacher": (*SCENES, *STEPS),
    "stage1": (*PICTURES, *STEPS),
    "stage2": (*PICTURES, *SCENES, *STEPS),
    "stage3": (*PICTURES, *SCENES, *STEPS),
    "calibrate": ("scenes=3",),
}


def run(stage: str, runs: Path, *overrides: str) -> None:
    options = [each for override in overrides for each in ("--set", override)]
    done = CliRunner().invoke(app, [stage, "--runs", str(runs), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_published_weights_are_the_rounded_ones(tiny_checkpoint: Path, tmp_path: Path) -> None:
    stale = tmp_path / "out" / "calibration.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    publish(tiny_checkpoint, stale.parent)
    assert not stale.exists()
    sizes = [(f / "model.safetensors").stat().st_size for f in (tiny_checkpoint, stale.parent)]
    assert sizes[1] < 0.6 * sizes[0]
    before, after = load_checkpoint(tiny_checkpoint), load_checkpoint(stale.parent)
    for (name, tensor), other in zip(
        before.state_dict().items(), after.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor.half().float(), other), name
    assert read_provenance(stale.parent) == read_provenance(tiny_checkpoint)


@pytest.mark.slow
def test_from_teachers_to_a_calibrated_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "stage3"
    folder.mkdir(parents=True)
    write_tokenizer(folder / "tokenizer.json")
    for stage, overrides in STAGES.items():
        run(stage, tmp_path, *overrides)

    stored = (folder / "calibration.json").read_bytes()
    with SamClip.load("torch", model=folder) as model:
        assert model.manifest.calibration == Calibration.model_validate_json(stored)
        assert not model.manifest.random_weights
        found = model.segment_text(np.zeros((40, 60, 3), np.uint8), ["dog"])
        assert found.score_maps.shape[0] == 1

    provenance = read_provenance(folder)
    assert provenance["nouns"] == 12
    assert provenance["calibration"]["scenes"] == 3
    assert provenance["versions"]["torch"]
    stages = []
    while "stage" in provenance:
        stages.append(provenance["stage"])
        assert provenance["settings"]["optimisation"]["steps"] == 2
        assert provenance["settings"]["optimisation"]["seed"] == 0
        provenance = provenance["starts_from"]
    assert stages == ["stage3", "stage2", "stage1"]
    assert provenance["clip_teacher"]["nouns"] == 12
    assert provenance["sam_teacher"]["scenes"]["batch"] == 1

    # What a stage does not train comes through byte for byte.
    before, after = (load_checkpoint(tmp_path / "tiny" / name) for name in ("stage2", "stage3"))
    heads = {"clip_head"}
    for name, part in before.named_children():
        other = getattr(after, name).state_dict()
        equal = all(torch.equal(value, other[key]) for key, value in part.state_dict().items())
        assert equal == (name not in heads), name

    # A stage that is done is written anew, not trained again; it has lost its calibration.
    weights = (folder / "model.safetensors").read_bytes()
    run("stage3", tmp_path, *STAGES["stage3"])
    assert (folder / "model.safetensors").read_bytes() == weights
    assert not (folder / "calibration.json").exists()
    assert "calibration" not in read_provenance(folder)


@pytest.mark.slow
def test_a_teachers_settings_are_kept_as_they_were_resolved(tmp_path: Path) -> None:
    run("clip_teacher", tmp_path, *STAGES["clip_teacher"])
    text = (tmp_path / "tiny" / "clip_teacher" / "config.json").read_text(encoding="utf-8")
    settings = ClipTeacherConfig.model_validate(json.loads(text))
    assert settings.image_tower == "test_resnet"
    assert settings.optimisation.steps == 2


def test_an_unknown_stage_leaves_nothing_behind(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["stage9", "--runs", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output.startswith("error: tiny.toml has no stage 'stage9'; it has clip_teacher")
    assert not list(tmp_path.iterdir())
