"""A program in a Python of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.source_tree import ROOT


def run_program(
    code: str, *words: object, cwd: Path = ROOT, warnings: str = "ignore", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs code with words in `sys.argv`, and further variables in its environment."""
    return subprocess.run(
        [sys.executable, "-W", warnings, "-c", code, *map(str, words)],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
