"""Which stages of a config are still to be run, and what marks one as done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from samclip_sdk.system.atomic_file import atomic_file
from training.config import PublishConfig, StageConfig
from training.config_file import load_stage, stage_names
from training.errors import TrainingError

DONE_NAME = "done.json"
"""Holds the settings that a stage was run with to its end, in the folder of its run."""


def stages_to_run(
    path: Path, *, runs: Path, overrides: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The stages of a config from the first that is not done on, but for those that publish.

    A stage is done if it was run to its end with the settings that the config has now.

    Args:
        path: of the config.
        runs: folder of the runs of all configs.
        overrides: of settings, which no stage in particular is meant by.

    Raises:
        TrainingError: there are overrides.
    """
    if overrides:
        raise TrainingError(
            f"--set {overrides[0]}: it is for one stage; for all of them, change {path.name}"
        )
    names, done = stage_names(path), True
    found = []
    for name in names:
        settings = load_stage(path, name)
        if isinstance(settings, PublishConfig):
            continue
        done = done and _is_done(runs / path.stem / name, settings)
        if not done:
            found.append(name)
    return tuple(found)


def note_done(run: Path, settings: StageConfig) -> None:
    """Marks a stage as done with these settings."""
    run.mkdir(parents=True, exist_ok=True)
    with atomic_file(run / DONE_NAME) as file:
        file.write(settings.model_dump_json(indent=2).encode())


def _is_done(run: Path, settings: StageConfig) -> bool:
    try:
        noted = json.loads((run / DONE_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(noted == settings.model_dump(mode="json"))
