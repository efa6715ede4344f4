"""Which checkpoints go on, and with which parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, save_checkpoint
from tests.proposal_cases import PROPOSING
from tests.refusals import refused
from tests.tiny_config import STUDENT
from training.errors import TrainingError
from training.stages.joint import give_trained_parts
from training.stages.publish import publish
from training.student_file import PROPOSAL_HEAD, start_from

OLDER = PROPOSING.model_copy(
    update={"image_encoder": PROPOSING.image_encoder.model_copy(update={"proposals": False})}
)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A checkpoint from before the proposal head: its config does not even name it."""
    folder = tmp_path / "older"
    save_checkpoint(build_model(OLDER, seed=3), folder, provenance={"stage": "joint"})
    content = json.loads((folder / "config.json").read_bytes())
    del content["model"]["image_encoder"]["proposals"]
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def heads(state: dict[str, torch.Tensor]) -> set[str]:
    return {key for key in state if key.startswith(PROPOSAL_HEAD)}


def test_an_older_checkpoint_is_what_it_was(older: Path) -> None:
    model = load_checkpoint(older)
    assert model.config == OLDER
    assert not heads(model.state_dict())
    model, fresh = start_from(older, proposals=False, seed=0)
    assert model.config == OLDER
    assert not fresh


def test_it_gets_a_head_only_where_its_training_goes_on(older: Path, tmp_path: Path) -> None:
    model, fresh = start_from(older, proposals=True, seed=5)
    assert fresh
    assert model.config == PROPOSING
    new = build_model(PROPOSING, seed=5).state_dict()
    before = load_checkpoint(older).state_dict()
    state = model.state_dict()
    assert heads(state)
    for key, tensor in state.items():
        assert torch.equal(tensor, (new if key in heads(state) else before)[key]), key
    save_checkpoint(model, tmp_path / "newer", provenance={})
    again, fresh = start_from(tmp_path / "newer", proposals=True, seed=6)
    assert not fresh
    assert all(torch.equal(x, state[key]) for key, x in again.state_dict().items())
    again, _ = start_from(tmp_path / "newer", proposals=False, seed=6)
    assert again.config == PROPOSING, "what it has, it keeps"


def test_a_config_that_promises_a_head_is_held_to_it(older: Path) -> None:
    content = json.loads((older / "config.json").read_bytes())
    content["model"]["image_encoder"]["proposals"] = True
    (older / "config.json").write_text(json.dumps(content))
    refused(lambda: load_checkpoint(older), BundleError, "proposal_head")


def test_only_a_pyramid_can_have_one(tmp_path: Path) -> None:
    save_checkpoint(build_model(STUDENT), tmp_path, provenance={})
    refused(lambda: start_from(tmp_path, proposals=True, seed=0), TrainingError, "pyramid")


def test_the_joint_training_goes_on_from_an_older_one(older: Path, tmp_path: Path) -> None:
    student = build_model(PROPOSING, seed=2)
    own = {key: x.clone() for key, x in student.state_dict().items()}
    give_trained_parts(student, older)
    before = load_checkpoint(older).state_dict()
    for key, x in student.state_dict().items():
        mine = key.startswith((PROPOSAL_HEAD, "text_encoder."))
        assert torch.equal(x, (own if mine else before)[key]), key
    save_checkpoint(student, tmp_path / "newer", provenance={})
    plain = build_model(OLDER)
    refused(lambda: give_trained_parts(plain, tmp_path / "newer"), TrainingError, "proposal_head")


def test_a_part_brings_its_head_to_what_is_published(older: Path, tmp_path: Path) -> None:
    """A part that has none leaves the one that is there."""
    model, _ = start_from(older, proposals=True, seed=5)
    part, target = tmp_path / "part", tmp_path / "published"
    settings = {"stage": "more", "settings": {"part": "proposals"}}
    save_checkpoint(model, part, provenance=settings)
    for folder in (older, part):
        (folder / "tokenizer.json").write_text("{}")
    publish(older, target, parts=[part])
    found = load_checkpoint(target)
    assert found.config == PROPOSING
    assert heads(load_file(target / "model.safetensors")) == heads(model.state_dict())
    cells = tmp_path / "cells"
    save_checkpoint(
        build_model(OLDER, seed=4), cells, provenance={"stage": "x", "settings": {"part": "cells"}}
    )
    publish(part, target, parts=[cells])
    assert heads(load_file(target / "model.safetensors")) == heads(model.state_dict())
