"""Embeddings of names in a file, each under its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from samclip_sdk.errors import one_line
from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError
from training.teachers.weights import SETTINGS_NAME, save_weights

NAMES_FILE = "names.safetensors"


def save_names(names: Mapping[str, Tensor], run: Path, *, provenance: Mapping[str, Any]) -> None:
    """Writes the embeddings [E] of names, by name, and how they came about."""
    save_weights(names, run / NAMES_FILE)
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(f"{json.dumps({'provenance': dict(provenance)}, indent=2)}\n".encode())


def read_name_provenance(run: Path) -> dict[str, Any]:
    """Reads how names came about, as `save_names` was told."""
    provenance: dict[str, Any] = json.loads((run / SETTINGS_NAME).read_bytes())["provenance"]
    return provenance


def read_names(run: Path) -> dict[str, Tensor]:
    """Reads what `save_names` wrote.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    path = run / NAMES_FILE
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path} holds no names ({one_line(error)}): run the stage {run.name} first"
        ) from error
