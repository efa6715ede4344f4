"""A student: its embeddings of names, its checkpoint, and how its weights came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samclip_sdk.bundle.manifest import TOKENIZER_NAME, Calibration
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, save_checkpoint
from samclip_sdk.modeling.config import BertTextConfig, ModelConfig, PyramidConfig
from samclip_sdk.text.tokenizer import Tokenizer
from training.calibrate import CALIBRATION_NAME
from training.errors import TrainingError
from training.teachers.captions import tokenize
from training.teachers.text_encoder_file import copy_tokenizer

NOUNS_NAME = "nouns.txt"
"""Beside a checkpoint, what it can name: a noun in each line."""

THRESHOLDS_NAME = "thresholds.json"
"""Beside a checkpoint, the thresholds of nouns that have their own."""

PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")
"""Those whose versions a checkpoint tells."""

PROPOSAL_HEAD = "image_encoder.proposal_head."
"""What the weights of a proposal head begin with in a checkpoint."""

_BATCH = 64


def has_proposals(config: ModelConfig) -> bool:
    """Returns whether a model has a proposal head."""
    return isinstance(config.image_encoder, PyramidConfig) and config.image_encoder.proposals


def with_proposals(config: ModelConfig) -> ModelConfig:
    """The config with a proposal head; raises TrainingError if its image encoder can have none."""
    encoder = config.image_encoder
    if not isinstance(encoder, PyramidConfig):
        raise TrainingError(
            f"the image encoder of {config.name} is a {encoder.kind}, and no pyramid: it can have "
            "no proposal head"
        )
    proposing = encoder.model_copy(update={"proposals": True})
    return config.model_copy(update={"image_encoder": proposing})


def start_from(folder: Path, *, proposals: bool, seed: int) -> tuple[SamClipModel, bool]:
    """Loads a checkpoint whose training goes on.

    Any checkpoint is loaded by its own config, strictly. Only here may a model get a part that it
    has not had: with `proposals`, a proposal head of random weights, which depend on `seed`.

    Returns:
        The model, and whether its proposal head is new.

    Raises:
        BundleError: as `load_checkpoint` does.
        TrainingError: with `proposals`, if the model can have no such head.
    """
    student = load_checkpoint(folder)
    if not proposals or has_proposals(student.config):
        return student, False
    larger = build_model(with_proposals(student.config), seed=seed)
    larger.load_state_dict(larger.state_dict() | student.state_dict())
    return larger, True


def with_own_head(student: SamClipModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's weights; if they have no proposal head at all, with the student's own."""
    if any(key.startswith(PROPOSAL_HEAD) for key in state):
        return dict(state)
    own = {key: x for key, x in student.state_dict().items() if key.startswith(PROPOSAL_HEAD)}
    return {**state, **own}


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
