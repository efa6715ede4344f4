from __future__ import annotations

import json
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from samclip_sdk.errors import BundleError, StorageError
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


def test_others_may_read_it(folder: Path) -> None:
    modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in (WEIGHTS, CONFIG)}
    assert len(modes) == 1


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


def test_a_file_in_the_way(model: SamClipModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        save_checkpoint(model, tmp_path / "file", provenance={})


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"has no {name}"):
        load_checkpoint(folder)


def truncate_weights(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def empty_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def cut_config(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model": ')


def list_config(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")


def binary_config(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00")


def config_without_model(folder: Path) -> None:
    (folder / CONFIG).write_text("{}")


def unknown_field(folder: Path) -> None:
    content = json.loads((folder / CONFIG).read_text())
    content["model"]["widht"] = 3
    (folder / CONFIG).write_text(json.dumps(content))


def other_width(folder: Path) -> None:
    content = json.loads((folder / CONFIG).read_text())
    content["model"]["image_encoder"]["embed_dim"] = 64
    (folder / CONFIG).write_text(json.dumps(content))


def tensor_missing(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["clip_head.norm.weight"]
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate_weights, "model.safetensors is damaged"),
        (empty_weights, "model.safetensors is damaged"),
        (cut_config, "cannot be loaded"),
        (list_config, "cannot be loaded"),
        (binary_config, "cannot be loaded"),
        (config_without_model, "cannot be loaded"),
        (unknown_field, "widht"),
        (other_width, "size mismatch"),
        (tensor_missing, "clip_head.norm.weight"),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=said):
        load_checkpoint(folder)


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


@pytest.fixture
def square(model: SamClipModel) -> SamClipModel:
    """A model without the factorised token embedding, which no open_clip model has."""
    text = model.config.text_encoder
    config = model.config.model_copy(
        update={"text_encoder": text.model_copy(update={"embedding_width": text.width})}
    )
    torch.manual_seed(8)
    square = SamClipModel(config).requires_grad_(False)
    for parameter in square.parameters():
        parameter.normal_()
    return square


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


def test_sources_that_do_not_fit(square: SamClipModel, config: ModelConfig) -> None:
    sam, clip = sources(square)
    short = {name: tensor for name, tensor in sam.items() if name != "image_encoder.pos_embed"}
    with pytest.raises(BundleError, match=r"SAM checkpoint .*pos_embed is missing"):
        from_sam_and_clip(square.config, sam=short, clip=FakeClip(clip))
    with pytest.raises(BundleError, match=r"mask_decoder\.extra has no place"):
        from_sam_and_clip(
            square.config, sam={**sam, "mask_decoder.extra": torch.zeros(1)}, clip=FakeClip(clip)
        )
    with pytest.raises(BundleError, match=r"token_embedding.weight is \(50, 32\), expected"):
        from_sam_and_clip(config, sam=sam, clip=FakeClip(clip))
    del clip["logit_scale"]
    with pytest.raises(BundleError, match=r"CLIP model .*logit_scale is missing"):
        from_sam_and_clip(square.config, sam=sam, clip=FakeClip(clip))
