"""What cannot be built or loaded is refused by the field or the tensor that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from samclip_sdk.errors import BundleError, StorageError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import from_sam_and_clip, load_checkpoint, save_checkpoint
from samclip_sdk.modeling.config import ModelConfig, PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from tests.modeling.test_checkpoint import CONFIG, WEIGHTS
from tests.parity.reference import build_clip, build_sam, small_config
from tests.refusals import refused

VIT = {"kind": "vit_det"}
PYRAMID = {"kind": "pyramid", "backbone": "x", "widths": (8, 8, 8), "image_size_px": 64}
HEAD = {"features": 64}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "name"),
        ({"depth": 3}, "depth"),
        ({"segmentation_resolution": 1000}, "1000"),
        ({"classification_resolution": 0}, "classification_resolution"),
        ({"image_encoder": {**VIT, "image_size_px": 1020}}, "1020"),
        ({"image_encoder": {**VIT, "num_heads": 7}}, "image_encoder.embed_dim 768"),
        ({"image_encoder": {**VIT, "global_attn_indexes": (2, 12)}}, "12"),
        ({"image_encoder": {**VIT, "global_attn_indexes": (2, 5)}}, "last layer"),
        ({"image_encoder": {"image_size_px": 1024}}, "kind"),
        ({"image_encoder": {"kind": "resnet"}}, "'vit_det', 'pyramid', 'tiny_vit'"),
        ({"image_encoder": {"kind": "pyramid"}}, "backbone"),
        ({"image_encoder": {"kind": "tiny_vit", "stage_heads": (2, 4, 6, 10)}}, "160"),
        ({"image_encoder": {**PYRAMID, "patch_size": 8}}, "patch_size"),
        ({"image_encoder": {**PYRAMID, "pixel_std": (1, 0, 1)}}, "pixel_std"),
        ({"image_encoder": {**PYRAMID, "depth": 3}}, "depth"),
        ({"image_encoder": {**PYRAMID, "image_size_px": 48}, "clip_head": HEAD}, "48"),
        ({"image_encoder": PYRAMID, "clip_head": HEAD}, "336"),
        ({"image_encoder": PYRAMID}, "pyramid"),
        ({"clip_head": HEAD}, "vit_det"),
        ({"mask_decoder": {"num_heads": 24}}, "mask_decoder.embed_dim 256"),
        ({"mask_decoder": {"embed_dim": 260}}, "embed_dim"),
        ({"text_encoder": {"kind": "clip", "num_heads": 7}}, "text_encoder.width 768"),
        ({"text_encoder": {"kind": "bert", "num_heads": 7}}, "text_encoder.width 384"),
        ({"text_encoder": {"kind": "bert", "templates": ["a dog"]}}, "templates"),
        ({"text_encoder": {"kind": "gpt"}}, "'clip', 'bert'"),
        ({"text_encoder": {"kind": "clip", "activation": "relu"}}, "activation"),
        ({"clip_head": {"token_pooling": {1024: 4}}}, "token_pooling"),
        ({"clip_head": {"token_pooling": {336: 2}}}, "336"),
    ],
)
def test_a_config(change: dict[str, Any], named: str) -> None:
    refused(lambda: ModelConfig.model_validate({"name": "x", **change}), ValidationError, named)


@pytest.mark.parametrize(
    "backbone", ["efficientnet_lite9", "hf-hub:timm/resnet18", "resnet18", "test_vit"]
)
def test_a_backbone(backbone: str) -> None:
    """That timm does not have, of other widths, or without features of strides 8, 16 and 32."""
    config = PyramidConfig(backbone=backbone, widths=(32, 48, 64))
    refused(lambda: PyramidEncoder(config, out_chans=16), ValueError, backbone)


@pytest.fixture
def folder(model: SamClipModel, tmp_path: Path) -> Path:
    save_checkpoint(model, tmp_path / "checkpoint", provenance={})
    return tmp_path / "checkpoint"


def change_config(**fields: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        whole = json.loads(content)
        for name, value in fields.items():
            part = whole["model"]["image_encoder"] if name == "embed_dim" else whole["model"]
            part[name] = value
        return json.dumps(whole).encode()

    return change


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        (WEIGHTS, None, WEIGHTS),
        (WEIGHTS, lambda content: content[: len(content) // 2], WEIGHTS),
        (WEIGHTS, lambda _: b"", WEIGHTS),
        (CONFIG, None, CONFIG),
        (CONFIG, lambda _: b'{"model": ', "checkpoint"),
        (CONFIG, lambda _: b"[]", "checkpoint"),
        (CONFIG, lambda _: b"\xff\xfe\x00", "checkpoint"),
        (CONFIG, lambda _: b"{}", "checkpoint"),
        (CONFIG, change_config(widht=3), "widht"),
        (CONFIG, change_config(embed_dim=64), "size mismatch"),
    ],
)
def test_a_checkpoint(
    folder: Path, file: str, change: Callable[[bytes], bytes] | None, named: str
) -> None:
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if change is not None:
        (folder / file).write_bytes(change(content))
    refused(lambda: load_checkpoint(folder), BundleError, named)


def test_a_checkpoint_without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["clip_head.norm.weight"]
    save_file(tensors, folder / WEIGHTS)
    refused(lambda: load_checkpoint(folder), BundleError, "clip_head.norm.weight")


def test_a_file_in_the_way(model: SamClipModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(lambda: save_checkpoint(model, tmp_path / "file", provenance={}), StorageError, "file")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda sam, clip: sam.pop("image_encoder.pos_embed"), "pos_embed"),
        (lambda sam, clip: sam.update({"mask_decoder.extra": torch.zeros(1)}), "extra"),
        (lambda sam, clip: delattr(clip, "logit_scale"), "logit_scale"),
        (lambda sam, clip: setattr(clip, "token_embedding", nn.Embedding(50, 3)), "(50, 3)"),
    ],
)
def test_sources_that_do_not_fit(spoil: Callable[..., object], named: str) -> None:
    config = small_config(image_size_px=64)
    sam, clip = build_sam(config, seed=1).state_dict(), build_clip(config, seed=2)
    spoil(sam, clip)
    refused(lambda: from_sam_and_clip(config, sam=sam, clip=clip), BundleError, named)
