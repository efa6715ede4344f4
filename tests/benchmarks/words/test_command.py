"""`python -m benchmarks words`: what it prints, and whose words it never tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.table import Model, Part, read_table
from benchmarks.words import command
from benchmarks.words.everyday import COMMON_BEFORE
from samclip_sdk.text.word_table import Reading
from tests.benchmarks.measured import cells, measure, part_of, run, shown
from tests.benchmarks.words.everyday_words import NONE, judged

WORDS = (
    judged("couch", (["sofa"], ())),
    judged("cap", (["hat"], ()), NONE),
    judged("hidden", (["sofa"], ())),
    judged("settee", (["sofa"], ()), half="aside"),
    judged("beret", NONE, ((), ["hat"]), half="aside"),
    judged("bus stop", NONE, half="aside", kind="compound"),
)
MODEL = Model(name="fake", revision="0", runtime="onnx", precision="fp32")
ASIDE = ("settee", "beret", "bus stop")


class Fake:
    """Takes every word for a hat, and was taught no other."""

    words = ("hat",)
    manifest = SimpleNamespace(name="fake", revision="0", random_weights=True)

    def __init__(self, *, table: bool = True) -> None:
        path = Path("words.json") if table else None
        self.source = SimpleNamespace(runtime="onnx", precision="fp32", words_path=path)

    def read_labels(self, labels: Sequence[str]) -> dict[str, Reading]:
        return {each: Reading("read_as", ("hat",)) for each in labels}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    opened = Fake()
    monkeypatch.setattr(command, "SamClip", SimpleNamespace(load=lambda *_, **__: opened))
    monkeypatch.setattr(command, "read_everyday", lambda *_: WORDS)
    before = {each.word: Reading("unknown", ("sofa",), 0.5) for each in WORDS}
    monkeypatch.setattr(command, "read_before", lambda: before)
    return opened


def counted(path: Path, *options: object) -> tuple[str, Part]:
    code, said = run("words", "--output", path, *options)
    assert code == 0, said
    return said, read_table(path).parts[-1]


@pytest.mark.usefixtures("fake")
def test_both_halves_are_counted_beside_what_was_before(tmp_path: Path) -> None:
    said, part = counted(tmp_path / "found.jsonl")
    assert part.splits("model") == ["seen, noun", "aside, noun", "aside, compound"]
    assert part.get("model", "wrong", "seen, noun").model_dump(include={"value", "n"}) == {
        "value": 2,
        "n": 3,
    }
    assert part.value("d6f029da", "lost", "seen, noun") == 2
    assert part.value("model", "none_answered", "aside, compound") == 1
    assert not [word for word in ASIDE if word in said]
    assert cells(said.partition("set aside")[0], "read as others")[:2] == [
        "0 of 3, 0.0 %",
        "3 of 3, 100.0 %",
    ]


@pytest.mark.usefixtures("fake")
def test_words_that_are_set_aside_are_listed_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    said, _ = counted(path, "--list")
    assert "couch (seen, noun): read_as hat; wrong; same sofa" in said
    assert "readers differ" in said
    assert not [word for word in ASIDE if word in said]
    said, _ = counted(path, "--list", "--aside")
    assert [word for word in ASIDE if word in said] == [*ASIDE]


@pytest.mark.usefixtures("fake")
def test_json_is_a_line_a_word_and_a_figure(tmp_path: Path) -> None:
    said, part = counted(tmp_path / "found.jsonl", "--half", "seen", "--list", "--json")
    lines = [json.loads(each) for each in said.splitlines() if each.startswith("{")]
    assert [each["word"] for each in lines if "word" in each] == ["couch", "cap", "hidden"]
    assert len([each for each in lines if "metric" in each]) == len(part.rows)


def test_a_model_without_a_table_reads_nothing(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.source.words_path = None
    said, part = counted(tmp_path / "found.jsonl")
    assert "fake has no table of words" in said
    assert part.subjects == ["d6f029da"]
    monkeypatch.setattr(command, "find_common", lambda _: ("hat",))
    code, said = run("words", "--output", tmp_path / "no.jsonl", "--sample", 1)
    assert (code, "no table of words" in said) == (1, True)


def test_a_sample_is_printed_as_json_lines_and_nothing_is_counted(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_common", lambda _: ("man", "settee", "city"))
    path = tmp_path / "found.jsonl"
    code, said = run("words", "--output", path, "--sample", 3)
    assert code == 0, said
    lines = [json.loads(each) for each in said.splitlines() if each.startswith("{")]
    assert {each["word"] for each in lines} == {"man", "city"}, "settee is set aside"
    assert lines[0]["words"] == ["hat"]
    assert not path.exists()


def test_common_nouns_are_counted_beside_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_common", lambda _: ("man", "city"))
    part = measure(command.add_common, Fake(), wordnet=Path(), suite="words")
    assert part.get("common", "read_as").n == part.value("common", "read_as") == 2
    assert part.get("common, d6f029da", "same").n == sum(COMMON_BEFORE.values()) == 2000


def test_the_page_shows_what_was_measured_alone() -> None:
    row = {"subject": "d6f029da", "split": "seen, noun", "metric": "wrong", "value": 1, "n": 4}
    part = part_of("words", row)
    part = part._replace(run=part.run.model_copy(update={"model": MODEL}))
    text = shown("words", part)
    assert cells(text, "**wrong sense**, of what is answered") == ["1 of 4, 25.0 %", "–", "–", "–"]
    assert "set aside" not in text
    assert text.count("Not measured yet.") == 2


@pytest.mark.usefixtures("fake")
def test_another_list_stands_alone_and_is_not_published(tmp_path: Path) -> None:
    other = tmp_path / "mine.json"
    said, part = counted(tmp_path / "found.jsonl", "--judged", other)
    assert [*part.subjects] == ["model"]
    assert cells(said, "wrong")[0] == "2 of 3, 66.7 %"
    code, said = run("words", "--judged", other, "--write")
    assert code != 0
    assert "leave --half and --judged out" in said
