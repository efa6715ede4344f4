"""Weights in files: written whole or not at all, and told in one line if damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from samclip_sdk.errors import one_line
from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError

SETTINGS_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes weights by name."""
    with atomic_file(path) as file:
        file.write(save({key: x.contiguous().clone() for key, x in state.items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads weights by name; raises TrainingError if the file is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _not_the_teacher(path, error) from error


def give_weights(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Gives a module weights of the file `path`; raises TrainingError if they are another's."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise _not_the_teacher(path, error) from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Gives a module the weights of a file, and freezes it in eval mode; raises like both above."""
    give_weights(module, read_weights(path), path)
    module.eval().requires_grad_(False)


def _not_the_teacher(path: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{path} is not the teacher that was trained: {one_line(error)}")
