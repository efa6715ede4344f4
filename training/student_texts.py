"""A student's own embeddings of names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import BertTextConfig
from training.teachers.captions import tokenize
from training.teachers.text_encoder_file import token_ids

_BATCH = 64


@torch.no_grad()
def embed_names(student: SamClipModel, names: Sequence[str]) -> Tensor:
    """Text embeddings [N,E] of names, in the text encoder's plainest caption."""
    config = student.config.text_encoder
    if isinstance(config, BertTextConfig):
        ids = token_ids([config.templates[0].replace("{}", name) for name in names], config)
    else:
        ids = tokenize([f"a photo of a {name}." for name in names])
    return torch.cat([student.text_encoder(part) for part in torch.split(ids, _BATCH)])
