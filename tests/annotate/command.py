"""The command `samclip annotate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from samclip_sdk.cli.app import app


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["annotate", *map(str, arguments)])


def answer(*arguments: str | Path) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def check_call_refused(*arguments: str | Path, code: int = 1, word: str) -> None:
    """Checks that the command says nothing but what is wrong, and names a value."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert word in result.stderr
    if code == 1:  # 2 is told in Typer's frame
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
