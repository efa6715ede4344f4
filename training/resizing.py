"""Gives a model that was trained before the sizes that its preset has now.

Local blocks that it lacks begin as no change. Of those that are too many the last stay, and of MLPs
that are too wide the units that add most: what follows teaches it to do without the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ClassifierHeadConfig, ModelConfig

_BLOCKS = "local_blocks."
_FIRST, _LAST = ".mlp.0.weight", ".mlp.2.weight"


def resized(student: SamClipModel, model: ModelConfig) -> SamClipModel:
    """A student with as many local blocks as a preset, and with MLPs in its CLIP head as narrow.

    Args:
        student: a merged model, whose config is the preset's but for the two. Another's is left as
            it is, and so is one with fewer blocks, if any, or narrower MLPs.
        model: the preset.
    """
    decoder, head = student.config.mask_decoder, student.config.clip_head
    wanted = model.mask_decoder.local_blocks
    if not 0 < decoder.local_blocks < wanted:
        decoder = decoder.model_copy(update={"local_blocks": wanted})
    if isinstance(head, ClassifierHeadConfig) and isinstance(model.clip_head, ClassifierHeadConfig):
        head = head.model_copy(update={"mlp_dim": min(head.mlp_dim, model.clip_head.mlp_dim)})
    config = student.config.model_copy(update={"mask_decoder": decoder, "clip_head": head})
    if config == student.config or config != model:
        return student
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = build_model(model)
    other.load_state_dict(narrowed(with_local_blocks(student.state_dict(), other), other))
    return other.eval()


def with_local_blocks(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state with as many local blocks as the module has: its own where there are none.

    Of more, the last, under the module's names.
    """
    own, fitted = module.state_dict(), dict(state)
    excess = _count_blocks(state) - _count_blocks(own)
    for name in [name for name in own if _BLOCKS in name]:
        before, _, after = name.partition(_BLOCKS)
        place, _, leaf = after.partition(".")
        taken = f"{before}{_BLOCKS}{int(place) + excess}.{leaf}"
        fitted[name] = state.get(taken, own[name])
    return {name: x for name, x in fitted.items() if _BLOCKS not in name or name in own}


def narrowed(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state, of whose MLPs as many units are left as the module has.

    The units of an MLP are `<name>.mlp.0.weight` [n,C,1,1], its bias [n] and the columns of
    `<name>.mlp.2.weight` [C,n,1,1]. Those stay whose two lengths have the greatest product.
    """
    fitted, own = dict(state), module.state_dict()
    for name in [name for name in own if name.endswith(_FIRST)]:
        first, last = state[name], state[name.replace(_FIRST, _LAST)]
        adds = first.flatten(1).norm(dim=1) * last.transpose(0, 1).flatten(1).norm(dim=1)
        kept = adds.topk(len(own[name])).indices.sort().values
        bias = name.replace("weight", "bias")
        fitted |= {name: first[kept], bias: state[bias][kept]}
        fitted[name.replace(_FIRST, _LAST)] = last[:, kept]
    return fitted


def _count_blocks(state: Mapping[str, Tensor]) -> int:
    return len({name.partition(_BLOCKS)[2].partition(".")[0] for name in state if _BLOCKS in name})
