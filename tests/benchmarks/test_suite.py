"""What every command shares: its options, where figures go, and how it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.intervals import Estimate
from benchmarks.suite import Measuring, command
from benchmarks.table import read_table


def toy(
    measured: Measuring,
    names: Annotated[list[str], typer.Argument()],
    folder: Path | None = None,
    fails: bool = False,
) -> None:
    """Measures names."""
    for name in measured.track(names, "measuring"):
        measured.add(name, n=2, letters=Estimate(len(name), 0, 9), missing=None)
        measured.save()
    if fails:
        raise ValueError("no\nmore")


app = typer.Typer()
app.command()(command("toy", toy))


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_figures_go_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    code, said = run("ab", "abc", "--output", str(path), "--folder", str(tmp_path / "x"))
    assert code == 0, said
    assert "| abc | | letters | 3 (0–9) | 2 |" in said
    last = read_table(path).parts[-1]
    assert last.run.settings == {"names": ["ab", "abc"], "folder": "x", "fails": False}
    assert last.value("abc", "letters") == 3
    assert run("d", "--output", str(path))[0] == 0
    assert [each.subjects for each in read_table(path).parts] == [["ab"], ["abc"], ["d"]]


def test_what_was_measured_before_a_failure_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("ab", "--fails") == (1, "error: no more\n")
    assert read_table(Path("runs/toy.jsonl")).parts[0].value("ab", "letters") == 2
