"""Teachers and student through the public API, by resolution, and the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.paper.run import Inputs, choose_students
from benchmarks.paper.words import names_of, part_of
from benchmarks.paper.zero_shot import measure_resolutions, measure_teachers
from benchmarks.table import read_table
from samclip_sdk.errors import BundleError
from tests.benchmarks.measured import measure
from training.errors import TrainingError

SPLIT = "heldout_instance"


def test_teachers_and_student_are_all_measured(inputs: Inputs) -> None:
    found = measure(measure_teachers, inputs)
    for who in ("clip_teacher", "student"):
        names = names_of(found, f"teachers: {who}")
        assert [*names] == ["composed", "clean"]
        assert (names["clean"]["names"].value, names["composed"]["top1"].n) == (12, 3)
    sam, student = (
        found.metrics(f"teachers: {who}: prompts", SPLIT) for who in ("sam_teacher", "student")
    )
    assert sam["box"].n == student["box"].n
    assert sam["box"].value != student["box"].value


def test_every_resolution_of_every_stage(inputs: Inputs) -> None:
    found = measure(measure_resolutions, inputs, resolutions=[48, 64])
    assert {subject.rpartition(": ")[0] for subject in found.subjects} == {
        f"resolutions: {stage} {size}" for stage in ("stage2", "stage3") for size in (48, 64)
    }
    with pytest.raises(ValueError, match="100 is not a positive multiple of 16"):
        measure(measure_resolutions, inputs, resolutions=[100])


def test_students_are_those_that_are_there(paper_run: Path) -> None:
    assert choose_students(paper_run, student=None) == ("stage1", "stage2", "stage3")
    assert choose_students(paper_run, student="stage2") == ("stage1", "stage2")
    with pytest.raises(TrainingError, match="own holds no merged model: there are stage1, stage2"):
        choose_students(paper_run, student="own")


def test_a_student_without_calibration_is_refused(inputs: Inputs) -> None:
    other = Inputs(inputs.run, inputs.pair, ("stage2",), inputs.dataset, steps=1)
    with pytest.raises(BundleError, match="run `python -m training calibrate"):
        other.calibrated()


@pytest.mark.slow
def test_the_command_stores_part_by_part(paper_run: Path, tmp_path: Path) -> None:
    """What was measured is shown, and a part that is measured again stands for itself alone."""
    place = tmp_path / "paper.jsonl"
    words = ["paper", "--runs", str(paper_run), "--pictures", "2", "--scenes", "2"]
    parts = ["--only", "teachers", "--only", "text_to_mask", "--only", "resolutions"]
    done = CliRunner().invoke(app, [*words, *parts, "--output", str(place)])
    assert done.exit_code == 0, done.output
    again = ["--only", "teachers", "--output", str(place)]
    assert CliRunner().invoke(app, [*words, *again]).exit_code == 0
    table = read_table(place)
    assert [part.run.settings["part"] for part in table.parts] == [
        "text_to_mask",
        "resolutions",
        "teachers",
    ]
    asked = part_of(table, "text_to_mask")
    assert asked is not None
    ways = ("clip_head", "both_heads", "two_models", "two_models_or_nothing")
    counts = {(asked.value(w, "present", SPLIT), asked.value(w, "absent", SPLIT)) for w in ways}
    assert len(counts) == 1
    assert [asked.value(way, "clip_passes", SPLIT) for way in ways[:2]] == [0, 0]
    assert asked.run.settings["tuned_on"] > 0
    assert set(asked.run.settings["weights"]) == {"clip_teacher", "sam_teacher", "stage3"}
    for shown in ("## text to mask", "two models: SAM everything + CLIP", "## wise ft", "64 px"):
        assert shown in done.output, shown
    assert "This was not measured." in done.output
