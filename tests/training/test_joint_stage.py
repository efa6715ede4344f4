"""Stages that go on from a finished model."""

from __future__ import annotations

from pathlib import Path

import torch
from typer.testing import CliRunner

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from tests.refusals import refused
from tests.tiny_config import PYRAMID_STUDENT, STUDENT
from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.__main__ import app
from training.errors import TrainingError
from training.stages.joint import give_trained_parts

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


def test_all_but_the_text_encoder_is_taken(finished: Path) -> None:
    student = build_model(PYRAMID_STUDENT, seed=2)
    own = {key: x.clone() for key, x in student.text_encoder.state_dict().items()}
    give_trained_parts(student, finished)
    theirs = load_checkpoint(finished).state_dict()
    for key, x in student.state_dict().items():
        name = key.removeprefix("text_encoder.")
        assert torch.equal(x, theirs[key] if name == key else own[name]), key
    other = build_model(STUDENT, seed=2)
    refused(lambda: give_trained_parts(other, finished), TrainingError, "model.safetensors")


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
