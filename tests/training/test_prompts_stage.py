"""The stage of background points, as the command runs it, and what is published of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from tests.tiny_config import PYRAMID_STUDENT, STUDENT
from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.__main__ import app
from training.errors import TrainingError
from training.stages.publish import publish

_CONFIG = """
model = "mobile"

[prompts]
task = "prompts"
starts_from = "{start}"

[prompts.photographs]
source = "photographs"
root = "{root}"
resolution = 64
late_resolution = 64
batch = 2
prompts = 1
prompts_each = 4
labels = 1

[prompts.optimisation]
steps = 2
learning_rate = 1e-3
workers = 0
threads = 1
multipliers = {{ mask_decoder = 1.0 }}
"""
PARTS = ("prompt_encoder.", "mask_decoder.")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "finished"
    save_checkpoint(build_model(PYRAMID_STUDENT, seed=1), folder, provenance={"stage": "joint"})
    (folder / "calibration.json").write_text(UNCALIBRATED.model_dump_json())
    return folder


def test_only_what_answers_prompts_learns(finished: Path, tmp_path: Path) -> None:
    things = [annotation(1, rectangle(20, 20, 80, 70))]
    write_set(tmp_path / "sets" / "toys", [(picture(), things, {})], info={"terms": "ours"})
    config = tmp_path / "own.toml"
    config.write_text(_CONFIG.format(start=finished, root=tmp_path / "sets"))
    command = ["prompts", "--config", str(config), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs" / "own" / "prompts"
    before, after = load_checkpoint(finished).state_dict(), load_checkpoint(run).state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert all(name.startswith("mask_decoder.") for name in changed)
    provenance = read_provenance(run)
    assert provenance["starts_from"] == {"stage": "joint"}
    assert provenance["photographs"] == {"toys": "ours"}


def test_a_published_student_gets_the_prompts_that_are_named(
    finished: Path, tmp_path: Path
) -> None:
    other = build_model(PYRAMID_STUDENT, seed=2)
    told = {"stage": "prompts", "starts_from": {"stage": "joint"}}
    save_checkpoint(other, tmp_path / "prompts", provenance=told)
    publish(finished, tmp_path / "out", prompts=tmp_path / "prompts")
    own, theirs = load_checkpoint(finished).state_dict(), other.state_dict()
    for key, x in load_checkpoint(tmp_path / "out").state_dict().items():
        wanted = theirs[key] if key.startswith(PARTS) else own[key]
        assert torch.equal(x, wanted.half().float() if x.is_floating_point() else wanted), key
    assert read_provenance(tmp_path / "out") == {"stage": "joint", "prompts": {"stage": "prompts"}}


def test_prompts_of_another_model_are_not_published(finished: Path, tmp_path: Path) -> None:
    save_checkpoint(build_model(STUDENT, seed=2), tmp_path / "prompts", provenance={})
    with pytest.raises(TrainingError, match="is of another model"):
        publish(finished, tmp_path / "out", prompts=tmp_path / "prompts")
    assert not (tmp_path / "out").exists()
