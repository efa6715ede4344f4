"""Objects of names on sets that were held out: every figure by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.intervals import Bootstrap
from benchmarks.quality import objects
from benchmarks.quality.held_out import HeldOutImages, HeldOutSet, choose_held_out
from benchmarks.quality.objects import measure_objects
from benchmarks.table import Part
from tests.benchmarks.measured import found_by, measure
from tests.benchmarks.public.painted import Painted
from tests.benchmarks.quality.painted_photographs import write_rooms

ROOMS = HeldOutSet(name="rooms", group="everyday", files=("1.jpg", "2.jpg"))


@pytest.fixture
def chosen(tmp_path: Path) -> HeldOutImages:
    write_rooms(tmp_path / "rooms")
    return choose_held_out(tmp_path, (ROOMS,))


def measured(model: Painted, chosen: HeldOutImages) -> Part:
    return measure(measure_objects, model, chosen, Bootstrap(resamples=20), suite="objects")


def test_figures(chosen: HeldOutImages) -> None:
    found = measured(Painted(), chosen).metrics("model: objects", "everyday")
    counts = {name: found[name].value for name in ("wanted", "told")}
    assert counts == {"wanted": 3, "told": 2}
    expected = {
        "precision": 1,
        "recall": 2 / 3,
        "recall_at_80": 2 / 3,
        # Red and green are found, before the red that is none; blue is not.
        "ap": 2 / 3,
        "ap50": 2 / 3,
        "pmf1": 0.8,
        # Of 8 names 2 are found rightly, one falsely, and one is missed.
        "il_mcc": 7 / 15,
        "cgf1": 100 * 0.8 * 7 / 15,
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected, rel=1e-3)


def test_only_what_is_told_by_default_counts(chosen: HeldOutImages) -> None:
    found = measured(Painted(min_score=0.9), chosen).metrics("model: objects", "everyday")
    assert (found["told"].value, found["recall"].value, found["cgf1"].value) == (0, 0, 0)
    assert "precision" not in found, "nothing was told"
    assert found["ap"].value == pytest.approx(2 / 3, abs=1e-3), "whatever the score"


def test_the_command(
    chosen: HeldOutImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "read_list", lambda: (ROOMS,))
    found = found_by(tmp_path / "found.jsonl", "objects", tmp_path)
    assert {"ap50", "recall_at_80", "cgf1"} <= set(found.metrics("model: objects", "all"))
