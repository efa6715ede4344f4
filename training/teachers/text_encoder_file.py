"""The files of a trained text encoder: its weights, and the tokenizer that goes with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer, cut_to_context
from training.teachers.text_teacher import SETTINGS_NAME, WEIGHTS_NAME
from training.teachers.weights import save_weights
from training.text.sentences import sentence_folder


def save_text_encoder(
    encoder: BertTextEncoder,
    folder: Path,
    *,
    config: BertTextConfig,
    provenance: Mapping[str, Any],
) -> None:
    """Writes config.json and model.safetensors; `write_tokenizer` writes the tokenizer."""
    content = {
        "text_encoder": config.model_dump(mode="json"),
        "embed_dim": encoder.mlp[-1].out_features,
        "provenance": dict(provenance),
    }
    save_weights(encoder.state_dict(), folder / WEIGHTS_NAME)
    with atomic_file(folder / SETTINGS_NAME) as file:
        file.write(f"{json.dumps(content, indent=2)}\n".encode())


def write_tokenizer(folder: Path, config: BertTextConfig) -> Tokenizer:
    """Writes the `tokenizer.json` that a checkpoint with a text encoder of this kind carries.

    Raises:
        TrainingError: MiniLM's package, which has the vocabulary, is not installed.
    """
    content = cut_to_context(
        sentence_folder() / TOKENIZER_NAME, context_length=config.context_length
    )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / TOKENIZER_NAME) as file:
        file.write(content.encode())
    return Tokenizer(folder / TOKENIZER_NAME)


def token_ids(texts: Sequence[str], config: BertTextConfig) -> Tensor:
    """The ids int32 [K,L] of texts, L the context length.

    Raises:
        TrainingError: MiniLM's package, which has the vocabulary, is not installed.
    """
    with TemporaryDirectory() as folder:
        return torch.from_numpy(write_tokenizer(Path(folder), config)(texts))
