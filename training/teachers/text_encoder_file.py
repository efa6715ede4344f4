"""The files of a trained text encoder: its weights and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.text.tokenizer import Tokenizer, cut_to_context
from training.files import write_json
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, save_weights
from training.text.sentences import sentence_folder
from training.text.word_pieces import choose_word_pieces, shrink_tokenizer

TEXT_ENCODER = "text_encoder"
"""The stage that trains the text encoder, and its folder among the runs."""


def save_text_encoder(
    encoder: BertTextEncoder,
    folder: Path,
    *,
    config: BertTextConfig,
    provenance: Mapping[str, Any],
) -> None:
    """Writes config.json and model.safetensors; `make_tokenizer` writes the tokenizer."""
    content = {
        "text_encoder": config.model_dump(mode="json"),
        "embed_dim": encoder.mlp[-1].out_features,
        "provenance": dict(provenance),
    }
    save_weights(encoder.state_dict(), folder / WEIGHTS_NAME)
    write_json(folder / SETTINGS_NAME, content)


def make_tokenizer(folder: Path, config: BertTextConfig, *, texts: Sequence[str]) -> Tokenizer:
    """Writes the `tokenizer.json` of a text encoder: MiniLM's, with the word pieces of its texts.

    Raises TrainingError if no vocabulary of that size can be made of it.
    """
    minilm = sentence_folder() / TOKENIZER_NAME
    pieces = choose_word_pieces(minilm, texts, size=config.vocab_size)
    content = cut_to_context(minilm, context_length=config.context_length)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / TOKENIZER_NAME) as file:
        file.write(shrink_tokenizer(content, pieces).encode())
    return Tokenizer(folder / TOKENIZER_NAME, context_length=config.context_length)


def keep_tokenizer(source: Path, folder: Path, config: BertTextConfig) -> Tokenizer:
    """Writes the `tokenizer.json` of a text encoder that goes on from another: the other's own."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(source, folder)
    return Tokenizer(folder / TOKENIZER_NAME, context_length=config.context_length)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the tokenizer of one folder to another, if it has one."""
    if (source / TOKENIZER_NAME).is_file():
        with atomic_file(target / TOKENIZER_NAME) as file:
            file.write((source / TOKENIZER_NAME).read_bytes())
