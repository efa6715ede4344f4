"""What annotation costs, with a fake of its workers: Ray's own are in tests/annotate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import annotate
from benchmarks.__main__ import app
from benchmarks.table import read_table
from samclip_sdk.annotate.annotator import annotate_pictures
from tests.drawings import TINY_BUNDLE


class Here:
    """Workers that are this process; `spoilt` ones answer with nothing."""

    spoilt = False

    def __init__(self, opening: Any, **options: Any) -> None:
        self.annotator = opening()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None: ...

    def join(self) -> None: ...

    def annotate(self, pictures: Any) -> Any:
        for picture, answer in annotate_pictures(self.annotator, pictures):
            yield picture, answer | ({"annotations": []} if self.spoilt else {})


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(annotate, "RayWorkers", Here)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    words = ["annotate", "--pictures", "2", "--labels", "3", "--workers", "2"]
    words += ["--model", str(TINY_BUNDLE), "--output", str(tmp_path / "found.jsonl")]
    return CliRunner().invoke(app, words)


def test_pictures_labels_and_workers_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    (part,) = read_table(tmp_path / "found.jsonl").parts
    assert part.splits("one process") == [
        "3 labels, 1 pictures",
        "3 labels, 2 pictures",
        "10 labels, 2 pictures",
    ]
    assert part.get("2 workers", "seconds", "10 labels, 2 pictures").n == 2
    assert "| none: one process |" in result.stdout


def test_workers_that_answer_otherwise_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Here, "spoilt", True)
    result = run(tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert "2 workers write other bytes than one process" in result.output
    assert not (tmp_path / "found.jsonl").exists()
