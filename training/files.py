"""Files of several stages, whether they are there, and versions of packages for the provenance."""

from __future__ import annotations

import glob
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.system.atomic_file import atomic_file
from training.data_config import Shards
from training.errors import TrainingError

_WEIGHTS = "model.safetensors"


def check_trained(folder: Path | None) -> None:
    """Raises TrainingError if no stage left its weights in a folder; None needs nothing."""
    if folder is not None and not (folder / _WEIGHTS).is_file():
        raise TrainingError(
            f"{folder.absolute()} has no {_WEIGHTS}: name the folder of a checkpoint, or run the"
            f" stage {folder.name} to its end first; relative paths start from the current folder"
        )


def check_folder(folder: Path | None, *, setting: str) -> None:
    """Raises TrainingError if there is no folder, by the setting's name; None needs nothing."""
    if folder is not None and not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}: say where it is with {setting}")


def check_shards(images: Shards) -> None:
    """Raises TrainingError if shards, or folders that the settings name, are missing."""
    for source in images.sources:
        if next(glob.iglob(source.shards, recursive=True), None) is None:
            raise TrainingError(
                f"no shard matches {source.shards!r}: say where yours are with images.sources"
            )
    check_folder(images.embeddings, setting="images.embeddings")
    check_folder(images.zero_shot, setting="images.zero_shot")


def versions_of(*packages: str) -> dict[str, str]:
    """Returns the installed versions of packages, by name."""
    return {name: importlib.metadata.version(name) for name in packages}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file for people to read, too."""
    with atomic_file(path) as file:
        file.write(f"{json.dumps(content, indent=2)}\n".encode())
