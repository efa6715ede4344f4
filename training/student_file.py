"""A student: its embeddings of names, its checkpoint, and how its weights came about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samclip_sdk.bundle.manifest import TOKENIZER_NAME, Calibration
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer
from training.calibrate import CALIBRATION_NAME
from training.teachers.captions import tokenize
from training.teachers.text_encoder_file import copy_tokenizer

NOUNS_NAME = "nouns.txt"
"""Beside a checkpoint, what it can name: a noun in each line."""

THRESHOLDS_NAME = "thresholds.json"
"""Beside a checkpoint, the thresholds of nouns that have their own."""

PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")
"""Those whose versions a checkpoint tells."""

_BATCH = 64


def write_student(
    student: SamClipModel, run: Path, *, start: Path, provenance: dict[str, Any]
) -> None:
    """Writes a checkpoint, with the tokenizer of the folder that its text encoder comes from.

    An old calibration there is removed: it was of other weights.
    """
    (run / CALIBRATION_NAME).unlink(missing_ok=True)
    save_checkpoint(student, run, provenance=provenance)
    if isinstance(student.config.text_encoder, BertTextConfig):
        copy_tokenizer(start, run)


def read_nouns(folder: Path) -> list[str]:
    """Returns the nouns beside a checkpoint; empty if there is no file."""
    path = folder / NOUNS_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line for line in lines if line]


def read_calibration(folder: Path) -> Calibration | None:
    """Returns the calibration beside a checkpoint, if there is one."""
    path = folder / CALIBRATION_NAME
    return Calibration.model_validate_json(path.read_bytes()) if path.is_file() else None


@torch.no_grad()
def embed_names(student: SamClipModel, names: Sequence[str], *, folder: Path) -> Tensor:
    """Text embeddings [N,E] of names, in the text encoder's plainest caption.

    One of the kind bert has its tokenizer in the folder that it came from.
    """
    config = student.config.text_encoder
    if isinstance(config, BertTextConfig):
        texts = [config.templates[0].replace("{}", name) for name in names]
        read = Tokenizer(folder / TOKENIZER_NAME, context_length=config.context_length)
        ids = torch.from_numpy(read(texts))
    else:
        ids = tokenize([f"a photo of a {name}." for name in names])
    return torch.cat([student.text_encoder(part) for part in torch.split(ids, _BATCH)])
