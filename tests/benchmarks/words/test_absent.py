"""Compounds in images where what they are a kind of is known to be absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.quality.held_out import HeldOutSet, choose_held_out
from benchmarks.words import absent
from samclip_sdk.text.word_table import Reading
from tests.benchmarks.measured import measure
from tests.benchmarks.public.painted import BLUE, RED, Painted
from tests.benchmarks.quality.painted_photographs import write_rooms
from tests.benchmarks.words.everyday_words import judged

SETS = (HeldOutSet(name="rooms", group="everyday", files=("1.jpg", "2.jpg")),)
READINGS = {
    "wine red": Reading("read_as", ("red",)),
    "navy blue": Reading("read_as", ("blue",)),
    "blue whale": Reading("unknown", ("blue",), 0.4),
}
WORDS = [
    judged("wine red", ((), ["red"]), kind="compound"),
    judged("navy blue", ((), ["blue", "cyan"]), kind="compound"),
    judged("blue whale", ((), ["blue"]), kind="compound"),
    judged("blue or red", ((), ["blue", "red"]), kind="compound"),
    judged("sky blue", ((), ["blue"]), kind="compound"),  # is taught
    judged("teal", ((), ["blue"])),  # is no compound
    judged("olive green", ((), ["green"]), ((), ["red"]), kind="compound"),  # readers differ
]


class Reader(Painted):
    """Finds a label where its colour covers anything, however many labels have it."""

    words = ("sky blue", "red")

    def read_labels(self, labels: Sequence[str]) -> dict[str, Reading]:
        return {each: READINGS.get(each, Reading("read_as", ("red",))) for each in labels}

    def segment_text(self, image: Any, labels: Sequence[str], **more: Any) -> Any:
        answer = super().segment_text(image, labels, **more)
        pairs = zip(labels, answer.presence.tolist(), strict=True)
        return SimpleNamespace(labels=[label for label, presence in pairs if presence])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_rooms(tmp_path / "rooms")
    return tmp_path


def test_a_compound_is_absent_where_all_that_both_readers_list_is(root: Path) -> None:
    """The first image shows red and green. The second is red, but is labelled blue."""
    chosen = choose_held_out(root, SETS)
    compounds = [each for each in WORDS if each.kind == "compound"]
    found = [absent.absent_compounds(chosen, each, compounds) for each in chosen.sets]
    assert [sorted(each) for each in found] == [
        ["blue whale", "navy blue", "sky blue"],
        ["wine red"],
    ]
    assert found[0]["navy blue"] == {"blue"}


def test_pairs_are_asked_as_now_as_before_and_by_their_names(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absent, "read_list", lambda: SETS)
    now = Reader({"wine red": RED, "navy blue": BLUE, "red": RED, "blue": BLUE})
    before = Reader({"navy blue": RED})
    part = measure(absent.add_absent, now, before, WORDS, root=root, seed=0, suite="words")
    found = part.metrics("absent", "things")
    assert (found["now"].n, found["compounds"].value, found["images"].value) == (2, 2, 2)
    assert {who: found[who].value for who in ("now", "before", "name")} == {
        "now": 0.5,
        "before": 0.5,
        "name": 0.5,
    }
    unknown = part.metrics("absent", "not known")
    assert (unknown["now"].n, unknown["now"].value) == (1, 0)
    assert now.encoded == 2, "each image is encoded once"
    assert before.encoded == 0


def test_a_source_without_its_table_is_the_same_otherwise() -> None:
    source = SimpleNamespace(words_path=Path("words.json"), id="own")
    found = absent.WithoutTable(source)  # type: ignore[arg-type]
    assert (found.words_path, found.id) == (None, "own")
