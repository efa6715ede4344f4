"""A run's state on the disk: written whole or not at all, read without running what is in it."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import TorchCheckpointIO

from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError

LAST_NAME = "last.pt"
KEPT_NAME = "kept.pt"

_KEYS = frozenset({"task", "optimizer", "step", "scores"})


class WholeFiles(TorchCheckpointIO):
    """Writes beside the target; what Fabric comes with writes in the temporary folder.

    That may be on another drive, and nobody removes from it what a killed process has left.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Writes a file whole, or raises StorageError; there are no storage options."""
        with atomic_file(path) as file:
            torch.save(checkpoint, file)


def check_state(run: Path) -> None:
    """Raises TrainingError if `run`/last.pt is damaged or no run's; loads no tensor."""
    path = run / LAST_NAME
    if path.exists():
        _check(path, keys=_KEYS)


def load_state(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    """Restores the objects in `state`; what the file does not have, teachers say, stays as it is.

    Raises:
        TrainingError: the file is damaged, or of other parts.
    """
    _check(path, keys=state.keys())
    try:
        fabric.load(path, state, strict=False, weights_only=True)
    except (RuntimeError, ValueError, KeyError) as error:  # the parts', and the optimizer's
        raise _refusal(path, " ".join(str(error).split())) from error


def save_state(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    """Replaces a file at once; losses' and teachers' weights are not in it.

    Raises:
        StorageError: it cannot be written, for the disk is full say; the one before is still there.
    """
    try:
        fabric.save(path, state, filter={"task": lambda name, _: name.startswith("parts.")})
    except (StorageError, RuntimeError) as error:  # torch's writer has words of its own
        raise StorageError(f"cannot write {path}, the one before is kept: {error}") from error
    fabric.barrier()


def _check(path: Path, *, keys: Set[str]) -> None:
    """Reads all of a file but its tensors, and runs nothing of what is in it."""
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # the archive, its pickle and torch raise what they like
        raise _refusal(path, "it is damaged, or holds more than tensors and numbers") from error
    if not isinstance(found, dict) or not keys <= found.keys():
        raise _refusal(path, "it does not hold the state of a run")


def _refusal(path: Path, reason: str) -> TrainingError:
    return TrainingError(
        f"{path} cannot be gone on from ({one_line(reason)}): put a good copy in its place, or "
        "remove it to train from the first step"
    )
