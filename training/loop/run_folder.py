"""The folder of a run: one training at a time, with the settings that it began with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning_fabric import Fabric

from training.errors import TrainingError
from training.files import write_json
from training.loop.log import over_processes

_SETTINGS = "settings.json"
_LOCK = "training.lock"
_LOCK_SECONDS = 10  # workers of a training that was killed hold the lock until they notice
# How a step is shared does not matter: `batches_per_step` says how much there is to share.
_HARMLESS = (
    "optimisation.workers",
    "optimisation.checkpoint_minutes",
    "optimisation.images_per_step",
)


@contextmanager
def claimed_run(
    run: Path, settings: Mapping[str, Any], *, allow_changes: bool, fabric: Fabric
) -> Iterator[None]:
    """Locks a run's folder, and makes sure that the settings are those that the run began with.

    The settings are all that decides on the weights. With `allow_changes`, changed ones are
    written. The first process holds the lock.

    Raises:
        TrainingError: the run began with other settings, which the message lists; or another
            training uses the folder.
    """
    path = run / _SETTINGS
    wanted = json.loads(json.dumps(settings))
    if path.exists() and not allow_changes:
        _check_unchanged(run, json.loads(path.read_bytes()), wanted)
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / _LOCK, timeout=_LOCK_SECONDS)
    taken = False
    if fabric.is_global_zero:
        try:
            lock.acquire()
        except Timeout:
            taken = True
    if any(over_processes(fabric, [taken], "max")):  # all leave, or one would wait for the others
        raise TrainingError(f"{run} is being trained by another process: wait for it, or stop it")
    try:
        if fabric.is_global_zero:
            write_json(path, wanted)
        yield
    finally:
        lock.release()


def _check_unchanged(run: Path, before: Any, wanted: Any) -> None:
    changes = [
        f"{key}: {old} -> {new}"
        for key, old, new in _differences(before, wanted)
        if not key.endswith(_HARMLESS)
    ]
    if changes:
        raise TrainingError(
            f"{run} was begun with other settings ({'; '.join(changes)}): "
            "remove the folder to start over, or pass --changed to go on with the new ones"
        )


def _differences(one: Any, other: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Returns the dotted keys with different values, and both values; None for a missing one."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [(key, one, other)]
    return [
        difference
        for name in sorted(one.keys() | other.keys())
        for difference in _differences(
            one.get(name), other.get(name), f"{key}.{name}" if key else name
        )
    ]
