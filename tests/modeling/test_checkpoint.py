from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from samclip_sdk.errors import StorageError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from tests.parity.reference import build_clip, build_sam, convert, small_config

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture
def folder(model: SamClipModel, tmp_path: Path) -> Path:
    save_checkpoint(model, tmp_path / "a" / "b", provenance={"seed": 1})
    return tmp_path / "a" / "b"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip(model: SamClipModel, folder: Path) -> None:
    loaded = load_checkpoint(folder)
    assert loaded.config == model.config
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert read_provenance(folder) == {"seed": 1}
    assert sorted(contents(folder)) == [CONFIG, WEIGHTS]


def test_saving_again_replaces_and_keeps_what_lies_beside(
    model: SamClipModel, folder: Path
) -> None:
    (folder / "calibration.json").write_text("{}")
    model.logit_scale.fill_(3)
    save_checkpoint(model, folder, provenance={"seed": 2})
    assert load_checkpoint(folder).logit_scale == 3
    assert read_provenance(folder) == {"seed": 2}
    assert sorted(contents(folder)) == ["calibration.json", CONFIG, WEIGHTS]


def test_a_full_disk_leaves_the_old_checkpoint(model: SamClipModel, folder: Path) -> None:
    before = contents(folder)
    model.logit_scale.fill_(3)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        with pytest.raises(StorageError, match=WEIGHTS):
            save_checkpoint(model, folder, provenance={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert contents(folder) == before


def test_the_clip_head_starts_as_the_last_layer() -> None:
    config = small_config(image_size_px=64)
    merged = convert(config, sam=build_sam(config, seed=1), clip=build_clip(config, seed=2))
    last = merged.image_encoder.blocks[-1].state_dict()
    for block in merged.clip_head.blocks:
        assert all(torch.equal(tensor, last[name]) for name, tensor in block.state_dict().items())
