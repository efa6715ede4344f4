"""Checks of files for several stages, and versions of packages for the provenance."""

from __future__ import annotations

import glob
import importlib.metadata
from pathlib import Path

from training.data_config import Shards
from training.errors import TrainingError

_WEIGHTS = "model.safetensors"


def check_trained(folder: Path | None) -> None:
    """Makes sure that a stage left its weights in a folder; None needs nothing.

    Raises:
        TrainingError: there are no weights.
    """
    if folder is not None and not (folder / _WEIGHTS).is_file():
        raise TrainingError(
            f"{folder} has no {_WEIGHTS}: run the stage {folder.name} to its end first"
        )


def check_folder(folder: Path | None, *, setting: str) -> None:
    """Makes sure that there is a folder; None needs nothing.

    Raises:
        TrainingError: there is none; the message names the setting.
    """
    if folder is not None and not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}: say where it is with {setting}")


def check_shards(pictures: Shards) -> None:
    """Makes sure that all shards, and the folders that the settings name, exist.

    Raises:
        TrainingError: one is missing.
    """
    for source in pictures.sources:
        if next(glob.iglob(source.shards, recursive=True), None) is None:
            raise TrainingError(
                f"no shard matches {source.shards!r}: say where yours are with pictures.sources"
            )
    if pictures.embeddings is not None and not pictures.embeddings.is_dir():
        raise TrainingError(
            f"there is no embedding cache {pictures.embeddings}: make it first, with a stage of "
            "the task embeddings, or leave out pictures.embeddings"
        )
    check_folder(pictures.zero_shot, setting="pictures.zero_shot")


def versions_of(*packages: str) -> dict[str, str]:
    """Returns the installed versions of packages, by name."""
    return {name: importlib.metadata.version(name) for name in packages}
