from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from samclip_sdk.errors import StorageError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import (
    from_sam_and_clip,
    load_checkpoint,
    read_provenance,
    save_checkpoint,
)
from samclip_sdk.modeling.config import ModelConfig

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


class FakeClip(nn.Module):
    """Only a state dict in open_clip's names, taken from one of our models."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.state = state

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.state


def sources(model: SamClipModel) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """State dicts in SAM's and in open_clip's names."""
    state = model.state_dict()
    sam = {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(("image_encoder.", "prompt_encoder.", "mask_decoder."))
        and not name.startswith("mask_decoder.pe_layer.")
    }
    clip = {"logit_scale": state["logit_scale"], "visual.proj": torch.zeros(3)}
    for name, tensor in state.items():
        if name.startswith("text_encoder."):
            name = name.removeprefix("text_encoder.").replace("blocks.", "transformer.resblocks.")
            name = name.replace("qkv.", "attn.in_proj_").replace("out_proj.", "attn.out_proj.")
            clip[name.replace("c_fc.", "mlp.c_fc.").replace("c_proj.", "mlp.c_proj.")] = tensor
    return sam, clip


def square_model(config: ModelConfig) -> SamClipModel:
    """A model without the factorised token embedding, which no open_clip model has."""
    text = config.text_encoder
    square = text.model_copy(update={"embedding_width": text.width})
    torch.manual_seed(8)
    model = SamClipModel(config.model_copy(update={"text_encoder": square})).requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_()
    return model


@pytest.fixture
def square(config: ModelConfig) -> SamClipModel:
    return square_model(config)


def test_stage_0(square: SamClipModel) -> None:
    sam, clip = sources(square)
    merged = from_sam_and_clip(square.config, sam=sam, clip=FakeClip(clip))
    state = merged.state_dict()
    for name, tensor in square.state_dict().items():
        if not name.startswith("clip_head."):
            assert torch.equal(state[name], tensor), name
    last = square.image_encoder.blocks[-1].state_dict()
    for block in merged.clip_head.blocks:
        assert all(torch.equal(tensor, last[name]) for name, tensor in block.state_dict().items())


def test_a_custom_text_clip(square: SamClipModel) -> None:
    sam, clip = sources(square)
    named = {
        name if name in ("logit_scale", "visual.proj") else f"text.{name}": tensor
        for name, tensor in clip.items()
    }
    merged = from_sam_and_clip(square.config, sam=sam, clip=FakeClip(named)).state_dict()
    assert torch.equal(
        merged["text_encoder.ln_final.bias"], square.state_dict()["text_encoder.ln_final.bias"]
    )
