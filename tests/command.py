"""The command `samclip`, in this process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from samclip_sdk.cli.app import app


def run(*words: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(each) for each in words], env=env)


def table(*words: object) -> str:
    """What a run that ends well prints."""
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def answer(*words: object) -> dict[str, Any]:
    """The one line of JSON that --json prints."""
    printed = table(*words, "--json")
    assert printed.count("\n") == 1
    content: dict[str, Any] = json.loads(printed)
    return content


def fails(*words: object, code: int = 1) -> str:
    """The error of a run that fails: one line, and nothing else; of 2, it may be in a frame."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    if code == 1:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    return result.stderr
