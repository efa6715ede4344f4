"""Checks of files for several stages, and versions of packages for the provenance."""

from __future__ import annotations

import glob
import importlib.metadata
from pathlib import Path

from training.data_config import Shards
from training.errors import TrainingError

_WEIGHTS = "model.safetensors"


def check_trained(folder: Path | None) -> None:
    """Raises TrainingError if no stage left its weights in a folder; None needs nothing."""
    if folder is not None and not (folder / _WEIGHTS).is_file():
        raise TrainingError(
            f"{folder} has no {_WEIGHTS}: run the stage {folder.name} to its end first"
        )


def check_folder(folder: Path | None, *, setting: str) -> None:
    """Raises TrainingError if there is no folder, by the setting's name; None needs nothing."""
    if folder is not None and not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}: say where it is with {setting}")


def check_shards(pictures: Shards) -> None:
    """Raises TrainingError if shards, or folders that the settings name, are missing."""
    for source in pictures.sources:
        if next(glob.iglob(source.shards, recursive=True), None) is None:
            raise TrainingError(
                f"no shard matches {source.shards!r}: say where yours are with pictures.sources"
            )
    check_folder(pictures.embeddings, setting="pictures.embeddings")
    check_folder(pictures.zero_shot, setting="pictures.zero_shot")


def versions_of(*packages: str) -> dict[str, str]:
    """Returns the installed versions of packages, by name."""
    return {name: importlib.metadata.version(name) for name in packages}
