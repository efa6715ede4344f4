"""Whole sets that no training saw: which images are asked for what, and the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages import RECORDS, ROOT
from benchmarks.public.files import DatasetError
from benchmarks.quality import held_out
from benchmarks.quality.command import measure_dataset
from benchmarks.quality.held_out import HeldOutImages, HeldOutSet, choose_held_out, read_list
from benchmarks.table import Part, read_table
from tests.benchmarks.measured import found_by
from tests.benchmarks.measured import measure as measured
from tests.benchmarks.public.painted import Painted
from tests.benchmarks.quality.painted_photographs import (
    LEFT,
    RIGHT,
    SMALL,
    VAL,
    painted,
    write_rooms,
)
from tests.refusals import refused
from tests.training.photograph_files import annotation, sample_image, write_set
from training.errors import TrainingError


def listed(name: str, group: str, *files: str, **more: Any) -> HeldOutSet:
    return HeldOutSet(name=name, group=group, files=files, **more)


SETS = (
    listed("rooms", "everyday", "1.jpg", "2.jpg"),
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
    """A complete set, one that is not, names of whole images, and one that is not listed."""
    root = tmp_path / "sets"
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    write_rooms(root / "rooms")
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
    write_set(root / "other", [(sample_image(), [], VAL)])
    return root


def choose(root: Path) -> HeldOutImages:
    return choose_held_out(root, SETS, seed=0, taught=("red", "grey"))


def of_set(chosen: HeldOutImages, name: str) -> list[int]:
    return [image for image, each in chosen.sets.items() if each.name == name]


def test_sets_that_differ_from_the_list_are_refused(root: Path) -> None:
    (root / "names" / "images" / "1.jpg").rename(root / "names" / "images" / "0.jpg")
    path = root / "names" / "instances.json"
    path.write_text(path.read_text().replace('"1.jpg"', '"0.jpg"'))
    refused(lambda: choose(root), DatasetError, "names", "1 of the 2", "1.jpg")
    (root / "zoo").rename(root / "away")
    refused(lambda: choose(root), TrainingError, "zoo")


def test_what_an_image_is_asked(root: Path) -> None:
    """A complete set says what is absent; of another the list does, or it is asked for nothing."""
    chosen = choose(root)

    def question(image: int) -> Any:
        return chosen.question(image).asked

    first, _ = of_set(chosen, "rooms")
    asked = question(first)
    assert (asked.present, set(asked.absent)) == (("green", "red"), {"blue", "grey"})
    (zoo,) = of_set(chosen, "zoo")
    asked = question(zoo)
    assert (asked.present, set(asked.absent)) == (("red",), {"blue", "grey"})
    assert (asked.masks == LEFT[None]).all()
    assert [question(each) for each in of_set(chosen, "names")] == [None, None]
    own, taught = chosen.namings()
    assert ({*own.names}, {*taught.names}) == ({"green"}, {"green", "red", "grey"})
    assert [*own.right.values()] == [{"green"}, {"green"}]


def measure(root: Path, model: Painted) -> Part:
    return measured(measure_dataset, model, choose(root), seed=0)


def test_figures_by_group(root: Path) -> None:
    """Red and green are found, blue is not where red is; red is a false mask.

    Names: green is the larger part, and red, which is unasked, is neither right nor wrong.
    """
    found = measure(root, Painted())
    everyday = found.metrics("both_heads", "everyday")
    assert [everyday[name].value for name in ("present", "absent", "miou")] == [3, 5, 0.5]
    assert found.value("model: prompts", "box", "everyday") == 1.0
    animals = found.metrics("both_heads", "animals")
    assert [animals[name].value for name in ("present", "absent", "found")] == [1, 2, 1]
    every = found.metrics("both_heads", "all")
    assert [every[name].value for name in ("present", "absent")] == [4, 7]
    own, taught = found.metrics("model: own", "names"), found.metrics("model: taught", "names")
    assert (own["top1"].n, own["names"].value, taught["names"].value) == (2, 1, 3)
    assert own["top1"].value == taught["top1"].value == 1


def test_a_gate_that_shuts_all_out_leaves_what_is_behind_it(root: Path) -> None:
    found = measure(root, Painted(presence_threshold=2.0)).metrics("both_heads", "everyday")
    assert found["miou"].value == 0
    assert found["ungated"].value == pytest.approx(2 / 3, abs=1e-4)
    assert "il_mcc" not in found, "nothing was found: there is no correlation"


@pytest.mark.slow
def test_the_command_writes_the_figures(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "read_list", lambda: SETS)
    found = found_by(tmp_path / "found.jsonl", "quality", "--held-out-sets", root)
    assert found.run.settings["images"] == {"names": 2, "rooms": 2, "zoo": 1}
    assert found.value("images", "asked", "animals") == 3


def test_the_committed_list_is_told_with_its_sources_and_was_measured() -> None:
    sets = read_list()
    assert len({each.name for each in sets}) == len(sets) == 12
    page = (ROOT / RECORDS / "held_out_sets.md").read_text(encoding="utf-8")
    for each in sets:
        assert f"| `{each.name}` | {each.group} | {len(each.files)}" in page, each.name
    (part,) = read_table(ROOT / RECORDS / "held_out_sets.jsonl").parts
    assert part.run.settings["images"] == {each.name: len(each.files) for each in sets}
