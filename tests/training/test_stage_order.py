from __future__ import annotations

from pathlib import Path

from training.config_file import load_stage
from training.stage_order import note_done, stages_to_run

CONFIG = """
model = "tiny"
[one]
task = "text_teacher"
[two]
task = "text_teacher"
steps = {steps}
[keep]
task = "publish"
checkpoint = "one"
[three]
task = "calibrate"
checkpoint = "two"
scenes = 3
"""


STAGES = ("one", "two", "keep", "three")


def written(path: Path, *, steps: int = 5) -> Path:
    path.write_text(CONFIG.format(steps=steps))
    return path


def test_stages_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    config, runs = written(tmp_path / "mine.toml"), tmp_path / "runs"
    assert stages_to_run(config, runs=runs) == STAGES
    for index, done in enumerate(STAGES, 1):
        note_done(runs / "mine" / done, load_stage(config, done), path=config)
        assert stages_to_run(config, runs=runs) == STAGES[index:]


def test_other_settings_run_a_stage_again_and_all_after_it(tmp_path: Path) -> None:
    config, runs = written(tmp_path / "mine.toml"), tmp_path / "runs"
    for name in STAGES:
        note_done(runs / "mine" / name, load_stage(config, name), path=config)
    assert stages_to_run(written(config, steps=6), runs=runs) == ("two", "keep", "three")
    (runs / "mine" / "one" / "done.json").write_text("{")
    assert stages_to_run(config, runs=runs) == STAGES


def test_a_stage_that_is_run_again_leaves_those_after_it_to_do(tmp_path: Path) -> None:
    """Such as a checkpoint that is published anew, and has no calibration then."""
    config, runs = written(tmp_path / "mine.toml"), tmp_path / "runs"
    for name in (*STAGES, "keep"):
        note_done(runs / "mine" / name, load_stage(config, name), path=config)
    assert stages_to_run(config, runs=runs) == ("three",)
