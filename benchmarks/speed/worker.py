"""One subject in a process of its own: opens it, and runs what the parent asks for, when it asks.

Requests come as lines of JSON on standard input, answers go as lines to what was standard output;
whatever else the subject prints goes to standard error. The parent decides how often anything runs
and reads this process's memory, so nothing is imported here that the subject does not import.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from benchmarks.speed.subject import Opened
from benchmarks.speed.subjects import make_subject


class Worker:
    """Answers requests about one subject."""

    def __init__(self) -> None:
        self._opened: Opened | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what is asked.

        Args:
            request: `do` is "open" (a `subject`, as `make_subject` takes it) or "run" (a
                `workload`, once).

        Returns:
            What JSON can hold.
        """
        if request["do"] == "open":
            return self._open(request["subject"])
        if self._opened is None:
            raise RuntimeError("no subject is open")
        if request["workload"] == "three_ways" and self._opened.steps is not None:
            steps = self._opened.steps()
            return {"ms": sum(steps.values()), "steps": steps}
        workload = self._opened.workloads[request["workload"]]
        start = time.perf_counter()
        workload()
        return {"ms": 1000 * (time.perf_counter() - start), "steps": {}}

    def _open(self, spec: str) -> dict[str, Any]:
        start = time.perf_counter()
        with timed_imports() as imports:
            subject = make_subject(spec)
            opened = subject.open()
        total_ms = 1000 * (time.perf_counter() - start)
        self._opened = opened
        return {
            "key": subject.key,
            "name": opened.name,
            "package_versions": opened.package_versions,
            "precision": opened.precision,
            "notes": opened.notes,
            "artifact_bytes": opened.artifact_bytes,
            "workloads": list(opened.workloads),
            "adds_up": opened.adds_up,
            "import_ms": imports.ms,
            "load_ms": total_ms - imports.ms,
        }


class ImportClock:
    """Milliseconds spent in imports, those within others counted once."""

    def __init__(self) -> None:
        self.ms = 0.0
        self._depth = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            self._depth += 1
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.ms += 1000 * (time.perf_counter() - start)

        return timed


@contextmanager
def timed_imports() -> Iterator[ImportClock]:
    """Times the imports inside: statements, and calls of `importlib.import_module`."""
    clock = ImportClock()
    statement, function = builtins.__import__, importlib.import_module
    builtins.__import__ = clock.around(statement)
    importlib.import_module = clock.around(function)
    try:
        yield clock
    finally:
        builtins.__import__, importlib.import_module = statement, function


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answers until there are no more requests; an exception is an answer too."""
    worker = Worker()
    for line in requests:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            # Whatever a peer may raise: the parent reports it, and may ask for something else.
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as channel:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin, channel)
