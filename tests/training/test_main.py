"""Every stage of the tiny config for a few steps, as a person would run them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from typer.testing import CliRunner

from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from tests.training.toy_task import logged
from training.__main__ import app
from training.stages.small_teachers import ClipTeacherConfig

STEPS = ("optimisation.steps=2", "optimisation.workers=0", "optimisation.threads=1")
IMAGES = ("images.resolutions=[96]", "images.pixels_per_batch=18432")
SCENES = ("scenes.batch=1", "scenes.prompts=2")
STAGES = {
    "clip_teacher": (
        'image_tower="test_resnet"',
        "nouns=12",
        "text_only_steps=1",
        "images.resolutions=[32]",
        "images.pixels_per_batch=4096",
        *STEPS,
    ),
    "sam_teacher": (*SCENES, *STEPS),
    "stage1": (*IMAGES, *STEPS),
    "stage2": (*IMAGES, *SCENES, *STEPS),
    "stage3": (*IMAGES, *SCENES, *STEPS),
    "calibrate": ("scenes=3",),
}


def run(stage: str, runs: Path, *overrides: str, smoke: int = 0) -> str:
    """Runs a stage to its end; returns the last line that it says."""
    options = [each for override in overrides for each in ("--set", override)]
    options += ["--smoke", str(smoke)]
    done = CliRunner().invoke(app, [stage, "--runs", str(runs), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_from_teachers_to_a_calibrated_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "stage3"
    folder.mkdir(parents=True)
    write_tokenizer(folder / "tokenizer.json")
    for stage, overrides in STAGES.items():
        run(stage, tmp_path, *overrides)
    written = (tmp_path / "tiny" / "clip_teacher" / "config.json").read_text(encoding="utf-8")
    teacher = ClipTeacherConfig.model_validate_json(written)
    assert (teacher.image_tower, teacher.optimisation.steps) == ("test_resnet", 2)

    stored = (folder / "calibration.json").read_bytes()
    with SamClip.load("torch", model=folder) as model:
        assert model.manifest.calibration == Calibration.model_validate_json(stored)
        assert not model.manifest.random_weights
        found = model.segment_text(np.zeros((40, 60, 3), np.uint8), ["dog"])
        assert found.asked.score_maps.shape[0] == 1

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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stage1", "--config", "none.toml"], "'none.toml'"),
        (["stage1", "--set", "foo"], "--set foo"),
        (["sam_teacher", "--accelerator", "tpu"], "--accelerator tpu"),
        (["sam_teacher", "--accelerator", "cuda"], "--accelerator cuda"),
        (["sam_teacher", "--accelerator", "mps"], "--accelerator mps"),
        (["all", "--set", "steps=2"], "--set steps=2"),
        (["all", "--smoke", "2"], "--smoke"),
        (["publish", "--config", "mobile", "--devices", "2"], "task publish"),
        (["stage2", "--config", "vit_b", "--nodes", "3"], "images_per_step is 2048"),
        (["embeddings", "--config", "vit_b", "--nodes", "2"], "task embeddings"),
        (["stage1"], "run the stage clip_teacher"),
    ],
)
def test_what_cannot_work_is_one_line_before_any_work(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(Fabric, "launch", lambda self: pytest.fail("it was launched"))
    done = CliRunner().invoke(app, [*words, "--runs", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert message in done.output
    assert done.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "tiny" / "sam_teacher"
    run.mkdir(parents=True)
    (run / "last.pt").write_bytes(b"half a file")
    monkeypatch.setattr(Fabric, "launch", lambda self: pytest.fail("it was launched"))
    done = CliRunner().invoke(app, ["sam_teacher", "--runs", str(tmp_path)])
    assert done.exit_code == 1
    assert "last.pt" in done.output
    assert done.output.count("\n") == 1
    assert [path.name for path in run.iterdir()] == ["last.pt"]


def test_a_stage_ends_with_where_its_result_is_and_what_is_next(tmp_path: Path) -> None:
    told = run("sam_teacher", tmp_path, *STAGES["sam_teacher"])
    result = tmp_path / "tiny" / "sam_teacher"
    assert told == f"{result} is written. Next: python -m training stage1 --runs {tmp_path}"
    assert (result / "model.safetensors").is_file()
    assert [entry["step"] for entry in logged(result)] == [1, 2]


def test_a_smoke_run_tells_the_pace_and_leaves_nothing(tmp_path: Path) -> None:
    told = run("sam_teacher", tmp_path, *STAGES["sam_teacher"], smoke=3)
    assert re.fullmatch(
        r"sam_teacher: [\d.]+ images/s, [\d.]+ GB of memory at most, [\d.]+ hours for 2 steps",
        told,
    )
    assert not list(tmp_path.iterdir())
