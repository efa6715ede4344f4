"""A run's folder: the settings it was begun with, which a resume must not change unawares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.atomic_file import atomic_file

_SETTINGS = "settings.json"
# How a step is shared out is no matter: `batches_per_step` says how much there is to share.
_HARMLESS = (
    "optimisation.workers",
    "optimisation.checkpoint_minutes",
    "optimisation.accumulate",
)


def claim_run(run: Path, settings: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Writes what a run is to be made with, or holds a run to what it was begun with.

    Args:
        run: the folder; made if it is not there.
        settings: everything that decides on the weights, JSON.
        allow_changes: go on with other settings all the same, and keep those.

    Raises:
        ValueError: the run was begun with other settings; the message lists them.
    """
    path = run / _SETTINGS
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        changes = [
            f"{key}: {before} -> {after}"
            for key, before, after in _differences(begun, wanted)
            if not key.endswith(_HARMLESS)
        ]
        if changes and not allow_changes:
            raise ValueError(
                f"{run} was begun with other settings ({'; '.join(changes)}): "
                "remove the folder to start over, or pass --changed to go on with the new ones"
            )
    run.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(json.dumps(wanted, indent=2).encode() + b"\n")


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
