"""Checkpoints of the merged model, and its creation from a SAM and a CLIP (stage 0).

A checkpoint is a folder with `model.safetensors` and `config.json`. These two files are enough to
export the model or to continue its training. All file access of `modeling` is here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from samclip_sdk.errors import BundleError, StorageError, one_line
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ClipTextConfig, ModelConfig
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.records import first_fault

_SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
# MobileSAM's files also hold an ImageNet classifier, which its encoder never calls.
_NOT_SAM = ("image_encoder.norm_head.", "image_encoder.head.")
_CLIP_TEXT = (
    "token_embedding.",
    "positional_embedding",
    "transformer.resblocks.",
    "ln_final.",
    "text_projection",
)
_ACTIVATIONS = {"gelu": "GELU", "quick_gelu": "QuickGELU"}
_SAM_PE = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def save_checkpoint(
    model: SamClipModel, folder: str | os.PathLike[str], *, provenance: Mapping[str, Any]
) -> None:
    """Writes `model` as a checkpoint folder, completely or not at all.

    Args:
        model: the merged model.
        folder: the folder; an earlier checkpoint in it is replaced, other files are kept.
        provenance: the origin of the weights (seeds, versions, data); must be JSON.

    Raises:
        StorageError: the folder cannot be written, for instance because the disk is full.
    """
    target = Path(folder)
    text = json.dumps(
        {"model": model.config.model_dump(mode="json"), "provenance": dict(provenance)}, indent=2
    )
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # As bytes, because `save_file` makes files that only their owner can read.
    weights = save(tensors)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write the checkpoint {target}: {error}") from error
    # The weights, which may fill the disk, are written before either file replaces an older one.
    with atomic_file(target / "model.safetensors") as weights_file:
        weights_file.write(weights)
        weights_file.flush()
        with atomic_file(target / "config.json") as config_file:
            config_file.write(f"{text}\n".encode())


def load_checkpoint(folder: str | os.PathLike[str]) -> SamClipModel:
    """Loads a checkpoint folder in eval mode, on the CPU, in fp32.

    Raises:
        BundleError: a file is missing or damaged, or the weights do not fit the config.
    """
    source = Path(folder)
    config = read_config(source)
    try:
        model = build_model(config)
        model.load_state_dict(load_file(source / "model.safetensors"))
    except SafetensorError as error:
        reason = one_line(error)
        raise BundleError(f"{source / 'model.safetensors'} is damaged: {reason}") from error
    except (ValueError, TypeError, KeyError, RuntimeError, OSError) as error:
        raise _unloadable(source, reason=one_line(error)) from error
    return model.eval()


def read_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """Reads the config of a checkpoint's model, without its weights.

    Raises:
        BundleError: the folder is not a checkpoint, or its config is damaged.
    """
    source = Path(folder)
    for name in ("model.safetensors", "config.json"):
        if not (source / name).is_file():
            raise BundleError(f"{one_line(source)} is not a checkpoint folder: it has no {name}")
    try:
        content = json.loads((source / "config.json").read_text(encoding="utf-8"))
        return ModelConfig.model_validate(content["model"])
    except ValidationError as error:
        raise _unloadable(source, reason=first_fault(error)) from error
    except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
        raise _unloadable(source, reason=one_line(error)) from error


def _unloadable(source: Path, *, reason: str) -> BundleError:
    return BundleError(f"the checkpoint {source} cannot be loaded: {reason}")


def read_provenance(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the origin of a checkpoint's weights, as given to `save_checkpoint`."""
    content = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    provenance: dict[str, Any] = content["provenance"]
    return provenance


def from_sam_and_clip(
    config: ModelConfig, *, sam: Mapping[str, Tensor], clip: nn.Module, seed: int = 0
) -> SamClipModel:
    """Builds the stage-0 merged model (paper section 3.2): SAM, CLIP's text encoder, a CLIP head.

    Args:
        config: the model's sizes; they must be those of the two sources.
        sam: state dict of a segment-anything model (`sam_vit_b_01ec64.pth`), or of MobileSAM
            (`mobile_sam.pt`).
        clip: an open_clip model with a text tower (`ViT-L-14` for the paper's config).
        seed: the seed of the CLIP head's LayerNorm and MLP, which neither source has.

    Returns:
        The model. The head's layers are copies of SAM's last block, if it has such blocks.

    Raises:
        BundleError: a tensor is missing or its shape differs from `config`.
    """
    model = build_model(config, seed=seed)
    load_sam(model, sam)
    load_text_encoder(model, clip)
    return model


def load_sam(model: SamClipModel, sam: Mapping[str, Tensor]) -> None:
    """Loads SAM's or MobileSAM's weights into `model`, and calls `start_clip_head`.

    Raises:
        BundleError: a tensor is missing or its shape differs from the model's.
    """
    state = {
        name: tensor
        for name, tensor in sam.items()
        if name.startswith(_SAM_PARTS) and not name.startswith(_NOT_SAM)
    }
    if _SAM_PE in state:
        state["mask_decoder.pe_layer.positional_encoding_gaussian_matrix"] = state[_SAM_PE]
    own = {name for name in model.state_dict() if name.startswith(_SAM_PARTS)}
    _load(model, state, own=own, source="the SAM checkpoint")
    model.start_clip_head()


def load_text_encoder(model: SamClipModel, clip: nn.Module) -> None:
    """Loads the text tower and the logit scale of an open_clip model into `model`.

    Raises:
        BundleError: the model's text encoder has another kind or size.
    """
    activations = {
        type(module).__name__
        for name, module in clip.named_modules()
        if name.endswith(".mlp.gelu") and not name.startswith("visual.")
    }
    config = model.config.text_encoder
    if not isinstance(config, ClipTextConfig):
        raise BundleError(
            f"the config {model.config.name} has a text encoder of the kind {config.kind}, which "
            "no CLIP model has the weights of"
        )
    expected = _ACTIVATIONS[config.activation]
    if activations and activations != {expected}:
        found = ", ".join(sorted(activations))
        raise BundleError(
            f"the CLIP model has {found}, the config {model.config.name} {expected}: "
            "set text_encoder.activation"
        )
    state = {name: tensor.detach() for name, tensor in clip.state_dict().items()}
    state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    renamed = {
        f"text_encoder.{_text_name(name)}": tensor
        for name, tensor in state.items()
        if name.startswith(_CLIP_TEXT)
    }
    if "logit_scale" in state:
        renamed["logit_scale"] = state["logit_scale"]
    own = {name for name in model.state_dict() if name.startswith("text_encoder.")}
    _load(model, renamed, own=own | {"logit_scale"}, source="the CLIP model")


def _text_name(name: str) -> str:
    """Renames `transformer.resblocks.3.attn.in_proj_weight` to `blocks.3.qkv.weight` and so on."""
    name = name.replace("transformer.resblocks.", "blocks.").replace("attn.in_proj_", "qkv.")
    return name.replace("attn.out_proj.", "out_proj.").replace("mlp.", "")


def _load(model: SamClipModel, state: Mapping[str, Tensor], *, own: set[str], source: str) -> None:
    """Loads exactly the tensors `own`.

    Raises:
        BundleError: a tensor is missing, left over or has another shape; the message names it.
    """
    target = model.state_dict()
    problems = [f"{name} is missing" for name in sorted(own - state.keys())]
    problems += [f"{name} has no place" for name in sorted(state.keys() - own)]
    problems += [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(target[name].shape)}"
        for name in sorted(own & state.keys())
        if state[name].shape != target[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
        raise BundleError(f"{source} does not fit the config {model.config.name}: {shown}")
    with torch.no_grad():
        for name in own:
            target[name].copy_(state[name])
