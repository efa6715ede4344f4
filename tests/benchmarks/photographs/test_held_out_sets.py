"""Whole sets that no training saw: which pictures are asked for what, and the figures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.pages import RECORDS, ROOT
from benchmarks.photographs import held_out
from benchmarks.photographs.figures import matthews
from benchmarks.photographs.held_out import measure_pictures
from benchmarks.photographs.held_out_record import (
    GroupQuality,
    HeldOutFigures,
    HeldOutQuality,
    HeldOutSettings,
    render,
)
from benchmarks.photographs.held_out_sets import (
    HeldOutPictures,
    HeldOutSet,
    choose_held_out,
    read_list,
)
from benchmarks.public.files import DatasetError
from benchmarks.record import read_record
from tests.benchmarks.photographs.test_measure import LEFT, RIGHT, SMALL, VAL, FakeSamClip, painted
from tests.training.photograph_files import annotation, picture, write_set
from training.errors import TrainingError

SETTINGS = HeldOutSettings(pictures={}, limit=None, resamples=20)


def listed(name: str, group: str, *files: str, **more: Any) -> HeldOutSet:
    return HeldOutSet(name=name, group=group, files=files, **more)


SETS = (
    listed("rooms", "everyday", "1.jpg", "2.jpg", seen=frozenset(["2.jpg"])),
    listed("zoo", "animals", "1.jpg", absent=("blue", "grey"), unasked=("green",)),
    listed(
        "names",
        "animals",
        "1.jpg",
        "3.jpg",
        named=True,
        aliases={"verdant": "green"},
        unasked=("red",),
    ),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A complete set, one that is not, names of whole pictures, and one that is not listed."""
    root = tmp_path / "sets"
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    write_set(
        root / "rooms",
        [
            (painted(red=LEFT, green=RIGHT), both, VAL),
            (painted(red=LEFT), [annotation(3, LEFT)], VAL),
        ],
        categories=("red", "green", "blue", "grey"),
        info={"complete": True},
    )
    write_set(
        root / "zoo",
        [(painted(red=LEFT, green=RIGHT), both, VAL)],
        categories=("red", "green"),
    )
    shown = [("verdant", "red"), ("blue",), ("green",)]
    write_set(
        root / "names",
        [(painted(green=LEFT, red=SMALL), [], VAL | {"labels": list(labels)}) for labels in shown],
    )
    write_set(root / "other", [(picture(), [], VAL)])
    return root


def choose(root: Path, *, limit: int | None = None) -> HeldOutPictures:
    return choose_held_out(root, SETS, limit=limit, seed=0)


def of_set(chosen: HeldOutPictures, name: str) -> list[int]:
    return [picture for picture, each in chosen.sets.items() if each.name == name]


def test_the_listed_pictures_of_the_listed_sets_are_asked(root: Path) -> None:
    chosen = choose(root)
    counts = {name: len(of_set(chosen, name)) for name in ("rooms", "zoo", "names", "other")}
    assert counts == {"rooms": 2, "zoo": 1, "names": 2, "other": 0}
    assert chosen.groups == ("everyday", "animals")
    assert len(choose(root, limit=1).sets) == 3


def test_a_set_that_lacks_a_listed_picture_is_refused(root: Path) -> None:
    (root / "names" / "images" / "1.jpg").rename(root / "names" / "images" / "0.jpg")
    path = root / "names" / "instances.json"
    path.write_text(path.read_text().replace('"1.jpg"', '"0.jpg"'))
    with pytest.raises(DatasetError, match=r"names below .* lacks 1 of the 2 .* first is 1.jpg"):
        choose(root)


def test_a_set_that_is_not_there_is_told(root: Path) -> None:
    (root / "zoo").rename(root / "away")
    with pytest.raises(TrainingError, match="there is no set zoo"):
        choose(root)


def test_what_a_picture_is_asked(root: Path) -> None:
    """A complete set says what is absent; of another the list does, or it is asked for nothing."""
    chosen = choose(root)
    first, _ = of_set(chosen, "rooms")
    asked = chosen.question(first)
    assert asked is not None
    assert (asked.present, set(asked.absent)) == (("green", "red"), {"blue", "grey"})
    (zoo,) = of_set(chosen, "zoo")
    asked = chosen.question(zoo)
    assert asked is not None
    assert (asked.present, set(asked.absent)) == (("red",), {"blue", "grey"})
    assert (asked.masks == LEFT[None]).all()
    named = of_set(chosen, "names")
    assert [chosen.question(each) for each in named] == [None, None]
    assert [chosen.names(each) for each in named] == [{"green"}, {"green"}]


@pytest.fixture
def found(root: Path) -> HeldOutFigures:
    return measure_pictures(FakeSamClip(), choose(root), settings=SETTINGS)


def group(found: HeldOutFigures, name: str, *, fresh: bool = False) -> GroupQuality:
    (row,) = (row for row in found.groups if (row.of, row.fresh) == (name, fresh))
    return row


def test_figures_by_group(found: HeldOutFigures) -> None:
    """As of `test_measure`: red, green are found, blue is not where red is; red is a false mask."""
    assert [row.of for row in found.groups] == 2 * ["everyday", "animals", "all"]
    everyday, animals = group(found, "everyday"), group(found, "animals")
    assert everyday.texts is not None
    assert (everyday.texts.present, everyday.texts.absent) == (3, 5)
    assert everyday.texts.miou.value == 0.5
    assert everyday.texts.miou_present.value == pytest.approx(2 / 3, abs=1e-4)
    # 2 of 3 found, 1 of 5 false: (2 * 4 - 1 * 1) / sqrt(3 * 3 * 5 * 5)
    assert everyday.il_mcc is not None
    assert everyday.il_mcc.value == pytest.approx(7 / 15, abs=1e-4)
    assert everyday.ungated is not None
    assert everyday.ungated.value == pytest.approx(2 / 3, abs=1e-4)
    assert everyday.prompts is not None
    assert (everyday.prompts.objects, everyday.prompts.box.value) == (3, 1.0)
    assert animals.texts is not None
    assert (animals.texts.present, animals.texts.absent) == (1, 2)
    assert animals.texts.found.value == 1.0
    every = group(found, "all")
    assert every.texts is not None
    assert (every.texts.present, every.texts.absent) == (4, 7)
    assert every.presence is not None


def test_pictures_that_an_earlier_training_saw_are_left_out_of_the_fresh_ones(
    found: HeldOutFigures,
) -> None:
    everyday, animals = (group(found, name, fresh=True) for name in ("everyday", "animals"))
    assert (everyday.pictures, animals.pictures) == (1, 3)
    assert everyday.texts is not None
    assert (everyday.texts.present, everyday.texts.miou.value) == (2, 1.0)
    assert everyday.texts.absent == 2


def test_a_gate_that_shuts_all_out_leaves_what_is_behind_it(root: Path) -> None:
    model = FakeSamClip()
    model.manifest = SimpleNamespace(calibration=SimpleNamespace(presence_threshold=2.0))
    row = group(measure_pictures(model, choose(root), settings=SETTINGS), "everyday")
    assert row.texts is not None
    assert row.ungated is not None
    assert row.texts.miou.value == 0.0
    assert row.ungated.value == pytest.approx(2 / 3, abs=1e-4)
    assert row.il_mcc is None, "nothing was found: there is no correlation"


def test_names_are_asked_of_named_sets(found: HeldOutFigures) -> None:
    """Green is the larger part; red, which is unasked, is neither right nor wrong."""
    own, taught = found.names
    assert (own.of, own.among, own.pictures, own.labels) == ("names", "own", 2, 1)
    assert (taught.among, taught.top1.value) == ("taught", 1.0)


def test_broken_pictures_are_counted(root: Path) -> None:
    (root / "rooms" / "images" / "1.jpg").write_bytes(b"no picture")
    assert measure_pictures(FakeSamClip(), choose(root), settings=SETTINGS).broken == {"picture": 1}


def test_correlation_of_what_is_found_with_what_is_there() -> None:
    present = np.array([True, True, False, False])
    ones = np.ones(4)
    assert matthews(present, present)(ones) == 1.0
    assert matthews(~present, present)(ones) == -1.0
    assert matthews(np.array([True, False, True, False]), present)(ones) == 0.0
    assert matthews(np.zeros(4, bool), present)(ones) is None


def test_the_command_writes_the_record(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "read_list", lambda: SETS)
    place = tmp_path / "found.json"
    words = ["quality", "--held-out-sets", str(root), "--output", str(place)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    record = read_record(HeldOutQuality, place)
    assert record.settings.pictures == {"names": 2, "rooms": 2, "zoo": 1}
    for words_in_page in (
        "## all pictures",
        "## fresh pictures",
        "everyday",
        "il_mcc",
        "## names",
        "top-5",
    ):
        assert words_in_page in done.output
    done = CliRunner().invoke(app, [*words, "--photographs", str(root)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_the_committed_list_is_told_with_its_sources() -> None:
    sets = read_list()
    assert len({each.name for each in sets}) == len(sets) == 12
    page = (ROOT / RECORDS / "held_out_sets.md").read_text(encoding="utf-8")
    for each in sets:
        row = f"| `{each.name}` | {each.group} | {len(each.files)}"
        assert row in page, row


def test_the_committed_record_is_of_the_whole_list() -> None:
    record = read_record(HeldOutQuality, ROOT / RECORDS / "held_out_sets.json")
    assert record.settings.pictures == {each.name: len(each.files) for each in read_list()}
    assert set(render(record)) == {"all_pictures", "fresh_pictures", "names", "made"}
