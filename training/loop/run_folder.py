"""A run's folder: one training at a time, and with the settings that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning_fabric import Fabric

from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError
from training.loop.log import over_processes

_SETTINGS = "settings.json"
_LOCK = "training.lock"
_LOCK_SECONDS = 10  # workers of a training that was killed hold the lock until they notice
# How a step is shared out is no matter: `batches_per_step` says how much there is to share.
_HARMLESS = (
    "optimisation.workers",
    "optimisation.checkpoint_minutes",
    "optimisation.pictures_per_step",
    "optimisation.accumulate",  # of runs that were begun before there was the setting above
    "optimisation.sharding",
)


@contextmanager
def claimed_run(
    run: Path, settings: Mapping[str, Any], *, allow_changes: bool, fabric: Fabric
) -> Iterator[None]:
    """Keeps other trainings out of a run's folder, and holds the run to what it was begun with.

    Args:
        run: the folder; made if it is not there.
        settings: everything that decides on the weights, JSON.
        allow_changes: go on with other settings all the same, and keep those.
        fabric: launched; its first process holds the folder for all.

    Raises:
        TrainingError: the run was begun with other settings, and the message lists them; or another
            training is at work in the folder.
    """
    path = run / _SETTINGS
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        _check_unchanged(run, wanted, allow_changes=allow_changes)
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
            with atomic_file(path) as file:
                file.write(json.dumps(wanted, indent=2).encode() + b"\n")
        yield
    finally:
        lock.release()


def _check_unchanged(run: Path, wanted: Any, *, allow_changes: bool) -> None:
    begun = json.loads((run / _SETTINGS).read_text(encoding="utf-8"))
    changes = [
        f"{key}: {before} -> {after}"
        for key, before, after in _differences(begun, wanted)
        if not key.endswith(_HARMLESS)
    ]
    if changes and not allow_changes:
        raise TrainingError(
            f"{run} was begun with other settings ({'; '.join(changes)}): "
            "remove the folder to start over, or pass --changed to go on with the new ones"
        )


def _differences(one: Any, other: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None stands for a missing one."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [(key, one, other)]
    return [
        difference
        for name in sorted(one.keys() | other.keys())
        for difference in _differences(
            one.get(name), other.get(name), f"{key}.{name}" if key else name
        )
    ]
