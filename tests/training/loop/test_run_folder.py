from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path

import pytest
from filelock import FileLock

from tests.refusals import refused
from training.errors import TrainingError
from training.loop.run_folder import claimed_run
from training.loop.train import build_fabric

SETTINGS = {"a": 1, "optimisation": {"steps": 5, "workers": 1, "multipliers": {"x": 1.0}}}


def changed(**values: object) -> dict[str, object]:
    return SETTINGS | {"optimisation": {**SETTINGS["optimisation"], **values}}


def claim(run: Path, settings: dict[str, object], *, allow_changes: bool = False) -> None:
    """Begins a run, and ends it at once."""
    fabric = build_fabric("fp32", accelerator="cpu")
    with claimed_run(run, settings, allow_changes=allow_changes, fabric=fabric):
        pass


def test_a_run_resumes_with_the_settings_it_was_begun_with(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "stage"
    claim(run, SETTINGS)
    claim(run, SETTINGS)
    assert json.loads((run / "settings.json").read_text(encoding="utf-8")) == SETTINGS


def test_a_change_is_named_and_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    claim(tmp_path, SETTINGS)
    before = (tmp_path / "settings.json").read_bytes()
    more = changed(steps=6, multipliers={"x": 1.0, "y": 0.5})
    told = ("optimisation.multipliers.y: None -> 0.5", "optimisation.steps: 5 -> 6")
    refused(lambda: claim(tmp_path, more), TrainingError, *told)
    assert (tmp_path / "settings.json").read_bytes() == before
    claim(tmp_path, changed(workers=7, images_per_step=64))  # these decide on no weight
    claim(tmp_path, more, allow_changes=True)
    claim(tmp_path, more)


def test_a_folder_holds_one_training_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is the other training's; settings that would do are not written over its own."""
    impatient = partialmethod(FileLock.acquire, timeout=0)
    with FileLock(tmp_path / "training.lock"), monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", impatient)
        refused(lambda: claim(tmp_path, SETTINGS), TrainingError, "another process", tmp_path)
        assert not (tmp_path / "settings.json").exists()
    claim(tmp_path, SETTINGS)
