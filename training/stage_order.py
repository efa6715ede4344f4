"""The stages of a config that are still to be run, and the mark of those that are done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from training.config_file import config_name, load_stage, stage_names
from training.errors import TrainingError
from training.files import write_json
from training.stage import StageSettings
from training.teachers.weights import WEIGHTS_NAME

DONE_NAME = "done.json"
"""The file in a run's folder with the settings that the stage was run with to its end."""

STAGES_NAME = "stages.json"
"""The file beside a checkpoint that tells which stages of its config ran."""


def stages_to_run(
    path: Path, *, runs: Path, overrides: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Returns the stages of a config from the first one that is not done.

    A stage is done if it was run to its end with the settings that the config has now, and no stage
    before it since.

    Raises:
        TrainingError: there are overrides of settings, which are for one stage.
    """
    if overrides:
        raise TrainingError(
            f"--set {overrides[0]}: it is for one stage; for all of them, change {path.name}"
        )
    names, done = stage_names(path), True
    found = []
    for name in names:
        done = done and _is_done(runs / path.stem / name, load_stage(path, name))
        if not done:
            found.append(name)
    return tuple(found)


def note_done(run: Path, settings: StageSettings, *, path: Path) -> None:
    """Marks a stage as done with these settings, and those after it as still to be run."""
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / DONE_NAME, settings.model_dump(mode="json"))
    names = stage_names(path)
    for name in names[names.index(run.name) + 1 :]:
        (run.parent / name / DONE_NAME).unlink(missing_ok=True)


def note_stages(result: Path, *, path: Path, stage: str) -> None:
    """Notes beside a checkpoint which stages of its config ran, up to this one, and which lack.

    An export refuses a checkpoint that lacks some.
    """
    if not (result / WEIGHTS_NAME).is_file():
        return
    names = stage_names(path)
    count = names.index(stage) + 1
    record = {"config": config_name(path), "ran": names[:count], "lacks": names[count:]}
    write_json(result / STAGES_NAME, record)


def _is_done(run: Path, settings: StageSettings) -> bool:
    try:
        noted = json.loads((run / DONE_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(noted == settings.model_dump(mode="json"))
