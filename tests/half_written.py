"""Another process, stopped in the middle of its writing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.source_tree import ROOT


@contextmanager
def writing(script: str, *words: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a script that says "half is written" and then waits; killed in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half is written\n"
        try:
            yield process
        finally:
            process.kill()
