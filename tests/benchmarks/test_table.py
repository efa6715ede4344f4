"""The long table: what is written is read, runs are merged, and a damaged file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.table import Part, Table, publishable, read_table, write_table
from tests.benchmarks.measured import part_of

ROWS: tuple[dict[str, Any], ...] = (
    {"subject": "a", "metric": "ms", "value": 1.5, "low": 1, "high": 2, "n": 3},
    {"subject": "a", "split": "64", "metric": "ms", "value": 4},
    {"subject": "b", "metric": "ms", "value": -0.25},
)


def part(*rows: dict[str, Any], **settings: Any) -> Part:
    return part_of("toy", *rows, **settings)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = Table((part(*ROWS, rounds=3), part({"subject": "c", "metric": "ms", "value": 1})))
    write_table(table, tmp_path / "toy.jsonl")
    assert read_table(tmp_path / "toy.jsonl") == table


def test_a_new_run_replaces_its_subjects_and_leaves_others() -> None:
    old, new = part(*ROWS), part({"subject": "a", "metric": "s", "value": 2})
    merged = Table((old,)).merge(new)
    assert [each.subjects for each in merged.parts] == [["b"], ["a"]]
    assert Table((part(*ROWS[:2]),)).merge(new).parts == (new,), "a run without figures goes"


GOOD = {"suite": "toy", "subject": "d", "metric": "ms", "value": 1}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", ""),
        ("3", ""),
        (json.dumps(GOOD | {"value": "?"}), "value"),
        (json.dumps(GOOD | {"subject": "b"}), "b  ms is there twice"),
        (json.dumps(GOOD | {"suite": "other"}), "of another suite"),
        ('{"run": {"suite": "toy"}}', "date"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "toy.jsonl"
    write_table(Table((part(*ROWS),)), path)
    path.write_text(f"{path.read_text('utf-8')}{line}\n", "utf-8")
    with pytest.raises(ValueError, match=f"toy.jsonl, line 5: .*{named}"):
        read_table(path)


def test_what_is_published_names_no_folder() -> None:
    assert publishable("x=/home/me/b,y /a/c.py:3\n and/or") == "x=b,y c.py:3 and/or"
