"""What the page shows of a record, and that it shows it only if there is one."""

from __future__ import annotations

import pytest

from benchmarks.pages import RECORDS, ROOT
from benchmarks.photographs.record import (
    CurvePoint,
    Estimate,
    PhotographQuality,
    PhotographSettings,
    PresenceAuc,
    TextToMask,
    draw_curve,
    render,
    with_interval,
)
from benchmarks.quality.record import Quality
from benchmarks.record import read_record

PAGE = f"{RECORDS}/quality_photographs.md"
THIRD = Estimate(value=1 / 3, low=0.25, high=0.4)


@pytest.fixture(scope="module")
def record() -> PhotographQuality:
    """One row a part, of the run that quality.json is of."""
    run = read_record(Quality, ROOT / RECORDS / "quality.json")
    row = TextToMask(
        heads="both_heads",
        of="all",
        pictures=2,
        present=3,
        absent=6,
        miou=THIRD,
        miou_present=THIRD,
        found=THIRD,
        false=THIRD,
    )
    point = CurvePoint(threshold=0.1, found=0.5, false=0.25, miou=0.3, miou_present=0.4)
    return PhotographQuality(
        environment=run.environment,
        seconds=1.0,
        model=run.model,
        settings=PhotographSettings(
            sets=("a", "b"), complete=("a",), limit=5, held_out=2, resamples=20
        ),
        text_to_mask=(row, row.model_copy(update={"of": "a"})),
        curves={"both_heads": (point,)},
        prompts=(),
        top_k=(),
        presence=(PresenceAuc(taught="near", names=2, present=3, absent=4, auc=THIRD),),
        broken={"picture": 3},
    )


def test_a_figure_stands_with_its_interval() -> None:
    assert with_interval(THIRD) == "33.3 (25.0 to 40.0)"
    assert with_interval(None) == "–"


def test_only_what_was_measured_is_shown(record: PhotographQuality) -> None:
    tables = render(record)
    assert list(tables) == ["text_to_mask", "text_to_mask_by_set", "curve", "presence", "made"]
    assert tables["text_to_mask"].splitlines()[2] == (
        "| both heads | 2 | 3 / 6 | 33.3 (25.0 to 40.0) | 33.3 (25.0 to 40.0) "
        "| 33.3 (25.0 to 40.0) | 33.3 (25.0 to 40.0) |"
    )
    assert tables["text_to_mask_by_set"].splitlines()[2].startswith("| `a` | both heads | 2 |")
    assert tables["curve"].splitlines()[2] == "| 0.1000 | 50.0 | 25.0 | 30.0 | 40.0 |"
    assert "held out, near" in tables["presence"]
    assert (
        "2 sets, of which 1 label everything, 5 pictures a part at most, picture broken: 3"
        in (tables["made"])
    )


def test_the_same_curve_is_the_same_file(record: PhotographQuality) -> None:
    drawn = draw_curve(record)
    assert drawn == draw_curve(record)
    assert b"<svg" in drawn
