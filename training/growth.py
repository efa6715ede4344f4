"""Gives a model that was trained without local blocks the blocks of its preset."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ModelConfig

_BLOCKS = "local_blocks."


def with_local_blocks(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state, with the module's own local blocks where it has none."""
    own = module.state_dict().items()
    return {name: tensor for name, tensor in own if _BLOCKS in name} | dict(state)


def grown(student: SamClipModel, model: ModelConfig) -> SamClipModel:
    """A student with a preset's local blocks, which begin as no change, where it has none.

    Args:
        student: a merged model, whose config is the preset's but for the blocks; another's is left
            as it is.
        model: the preset.
    """
    own = student.config.mask_decoder
    decoder = own.model_copy(update={"local_blocks": model.mask_decoder.local_blocks})
    same = student.config.model_copy(update={"mask_decoder": decoder}) == model
    if own.local_blocks or own == decoder or not same:
        return student
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        larger = build_model(model)
    larger.load_state_dict(with_local_blocks(student.state_dict(), larger))
    return larger.eval()
