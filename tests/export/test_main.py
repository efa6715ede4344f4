"""`python -m export` as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from export.__main__ import main
from export.options import ExportOptions
from samclip_sdk.errors import VerificationError
from tests.docs.pages import blocks

ROOT = Path(__file__).parents[2]


def run_export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # against a hang; two busy cores take some ten minutes
    )


def shown_commands() -> list[list[str]]:
    """The exports that docs/how-to/export.md shows, without `python -m export`."""
    page = blocks("docs/how-to/export.md")
    (block,) = (each for each in page if each.code.startswith("pip install"))
    return [words[3:] for words in block.commands() if words[:3] == ["python", "-m", "export"]]


def test_what_the_page_shows_can_be_exported_in_a_fresh_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check before the work is passed; the work itself is left out."""
    asked = []

    def write(source: object, out: Path, *, options: ExportOptions, **_: object) -> None:
        asked.append(options)
        raise VerificationError("left out")

    monkeypatch.setattr("export.__main__.find_source", lambda name: None)
    monkeypatch.setattr("export.__main__.write_bundle", write)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").symlink_to(ROOT / "training")
    app = typer.Typer()
    app.command()(main)
    for arguments in shown_commands():
        result = CliRunner().invoke(app, arguments)
        assert result.stderr == "error: left out\n", arguments
    assert len(asked) == len(shown_commands()) == 5
    first, *_, random = asked
    assert first == ExportOptions(onnx=("fp32", "fp16", "int8"), weights="int8"), "what ships"
    assert random == ExportOptions(), "no gate tells whether rounding harms random weights"
