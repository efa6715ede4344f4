from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.loop.run_folder import claim_run

SETTINGS = {"a": 1, "optimisation": {"steps": 5, "workers": 1, "multipliers": {"x": 1.0}}}


def changed(**values: object) -> dict[str, object]:
    return SETTINGS | {"optimisation": {**SETTINGS["optimisation"], **values}}


def test_a_run_resumes_with_the_settings_it_was_begun_with(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "stage"
    claim_run(run, SETTINGS, allow_changes=False)
    claim_run(run, SETTINGS, allow_changes=False)
    assert json.loads((run / "settings.json").read_text(encoding="utf-8")) == SETTINGS


def test_a_change_is_named_and_refused(tmp_path: Path) -> None:
    claim_run(tmp_path, SETTINGS, allow_changes=False)
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(
        ValueError, match=r"optimisation\.multipliers\.y: None -> 0\.5; optimisation\.steps: 5 -> 6"
    ):
        claim_run(tmp_path, changed(steps=6, multipliers={"x": 1.0, "y": 0.5}), allow_changes=False)
    assert (tmp_path / "settings.json").read_bytes() == before


def test_a_change_that_is_wanted_is_kept(tmp_path: Path) -> None:
    claim_run(tmp_path, SETTINGS, allow_changes=False)
    claim_run(tmp_path, changed(steps=6), allow_changes=True)
    claim_run(tmp_path, changed(steps=6), allow_changes=False)


def test_what_decides_on_no_weight_may_change(tmp_path: Path) -> None:
    claim_run(tmp_path, SETTINGS, allow_changes=False)
    claim_run(tmp_path, changed(workers=7), allow_changes=False)
