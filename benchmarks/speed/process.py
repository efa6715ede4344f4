"""The parent's side of a worker: asks it, reads its memory, and tells why it did not answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from samclip_sdk.timing import PeakMemory

_ROOT = Path(__file__).parents[2]
_FAREWELL_S = 20
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/:,;'\"()]+/)*(?=[^\s/:,;'\"()]+)")


class SubjectError(Exception):
    """A subject did not do what it was asked; the message is the reason, in one line."""


class WorkerProcess:
    """A worker, until it is closed. A context manager.

    Args:
        limit_s: seconds after which an answer is given up, and the process ended.

    Attributes:
        memory: the peak memory of the process.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
            encoding="utf-8",
        )
        self.memory = PeakMemory(self._process.pid)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self, spec: str) -> dict[str, Any]:
        """Opens the subject; returns what `worker.Worker` tells of it.

        Raises:
            SubjectError: it cannot be opened.
        """
        return self._ask({"do": "open", "subject": spec})

    def run(self, workload: str) -> tuple[float, dict[str, float]]:
        """Runs a workload once; returns the milliseconds, and those of each step that is told.

        Raises:
            SubjectError: it failed.
        """
        answer = self._ask({"do": "run", "workload": workload})
        return answer["ms"], answer["steps"]

    def close(self) -> None:
        """Ends the process."""
        with suppress(OSError):  # It may be gone already.
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._limit_s, give_up)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if late.is_set():
            raise SubjectError(f"no answer within {self._limit_s:g} s")
        if not line:
            raise SubjectError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SubjectError(publishable(answer["error"]))
        return answer

    def _last_words(self) -> str:
        code = self._process.wait(timeout=_FAREWELL_S)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return publishable(f"the process ended with code {code}: {last}")


def publishable(text: str) -> str:
    """The text as one line, of absolute paths only the names: a folder tells who measured."""
    return _ABSOLUTE.sub("", " ".join(text.split()))
