"""The long table: what is written is read, runs are merged, and a damaged file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.table import Part, Row, Table, describe_run, publishable, read_table, write_table

ROWS = (
    Row(subject="a", metric="ms", value=1.5, low=1, high=2, n=3),
    Row(subject="a", split="64", metric="ms", value=4),
    Row(subject="b", metric="ms", value=-0.25),
)


def part(*rows: Row, **settings: object) -> Part:
    return Part.of(describe_run("toy", ["toy"]).model_copy(update={"settings": settings}), rows)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = Table((part(*ROWS, rounds=3), part(Row(subject="c", metric="ms", value=1))))
    write_table(table, tmp_path / "toy.jsonl")
    assert read_table(tmp_path / "toy.jsonl") == table
    assert table.get("c", "ms") == table.parts[1].rows["c", "", "ms"]


def test_a_new_run_replaces_its_subjects_and_leaves_others() -> None:
    old, new = part(*ROWS), part(Row(subject="a", metric="s", value=2))
    merged = Table((old,)).merge(new)
    assert [each.subjects for each in merged.parts] == [["b"], ["a"]]
    assert merged.get("a", "ms") is None
    assert Table((part(*ROWS[:2]),)).merge(new).parts == (new,), "a run without figures goes"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 5"),
        ('{"suite": "toy", "subject": "a", "metric": "ms", "value": "?"}', "line 5: value"),
        ('{"suite": "toy", "subject": "d", "metric": "ms", "value": 1, "low": 0}', "line 5: low"),
        ('{"suite": "toy", "subject": "b", "metric": "ms", "value": 1}', "line 5: b  ms is there"),
        ('{"suite": "other", "subject": "d", "metric": "ms", "value": 1}', "line 5: a figure"),
        ('{"run": {"suite": "toy"}}', "line 5: date"),
        ("3", "line 5"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    place = tmp_path / "toy.jsonl"
    write_table(Table((part(*ROWS),)), place)
    place.write_text(f"{place.read_text('utf-8')}{line}\n", "utf-8")
    with pytest.raises(ValueError, match=f"toy.jsonl, {why}"):
        read_table(place)


def test_two_figures_of_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="a  ms is there twice"):
        part(ROWS[0], ROWS[0])


def test_what_is_published_names_no_folder() -> None:
    assert publishable("x=/home/me/b,y /a/c.py:3\n and/or") == "x=b,y c.py:3 and/or"
