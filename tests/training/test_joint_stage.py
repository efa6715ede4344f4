"""The joint training goes on from an earlier checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.tiny_config import PYRAMID_STUDENT, STUDENT
from training.errors import TrainingError
from training.stages.joint import give_trained_parts


def test_all_but_the_text_encoder_is_taken(tmp_path: Path) -> None:
    earlier, student = (build_model(PYRAMID_STUDENT, seed=seed) for seed in (1, 2))
    own = {key: x.clone() for key, x in student.text_encoder.state_dict().items()}
    save_checkpoint(earlier, tmp_path, provenance={})
    give_trained_parts(student, tmp_path)
    theirs = earlier.state_dict()
    for key, x in student.state_dict().items():
        name = key.removeprefix("text_encoder.")
        assert torch.equal(x, theirs[key] if name == key else own[name]), key


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_checkpoint(build_model(STUDENT, seed=1), tmp_path, provenance={})
    with pytest.raises(TrainingError, match=r"model\.safetensors is not"):
        give_trained_parts(build_model(PYRAMID_STUDENT, seed=2), tmp_path)
