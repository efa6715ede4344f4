"""A student's own embeddings of names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer
from training.teachers.captions import tokenize

_BATCH = 64


@torch.no_grad()
def embed_names(student: SamClipModel, names: Sequence[str], *, folder: Path) -> Tensor:
    """Text embeddings [N,E] of names, in the text encoder's plainest caption.

    Args:
        student: whose text encoder embeds them.
        names: N of them.
        folder: where the text encoder came from: one of the kind bert has its tokenizer there.
    """
    config = student.config.text_encoder
    if isinstance(config, BertTextConfig):
        texts = [config.templates[0].replace("{}", name) for name in names]
        read = Tokenizer(folder / TOKENIZER_NAME, context_length=config.context_length)
        ids = torch.from_numpy(read(texts))
    else:
        ids = tokenize([f"a photo of a {name}." for name in names])
    return torch.cat([student.text_encoder(part) for part in torch.split(ids, _BATCH)])
