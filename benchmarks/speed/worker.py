"""One subject in a process of its own: opens it, and runs what the parent asks for, when it asks.

The parent decides how often anything runs and reads this process's memory, so nothing is imported
here that the subject does not import.
"""

from __future__ import annotations

import builtins
import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.speed.subject import make_subject


class Worker:
    """Answers requests about one subject, with what can be sent to another process."""

    def open(self, spec: str) -> dict[str, Any]:
        """Makes a subject and opens it; tells what it is, and how long that took."""
        start = time.perf_counter()
        try:
            with timed_imports() as imports:
                subject = make_subject(spec)
                opened = subject.open()
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{error}; peers need pip install -e '.[peers]'") from error
        total_ms, self._opened = 1000 * (time.perf_counter() - start), opened
        versions = {}
        for name in opened.packages:
            with suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(name)
        names = ("name", "precision", "notes", "artifact_bytes", "adds_up")
        return {
            **{name: getattr(opened, name) for name in names},
            "key": subject.key,
            "package_versions": versions,
            "workloads": list(opened.workloads),
            "import_ms": sum(imports),
            "load_ms": total_ms - sum(imports),
        }

    def run(self, name: str) -> tuple[float, dict[str, float]]:
        """Runs a workload once; returns its milliseconds, and those of each step that is told."""
        if name == "three_ways" and self._opened.steps is not None:
            steps = self._opened.steps()
            return sum(steps.values()), steps
        workload = self._opened.workloads[name]
        start = time.perf_counter()
        workload()
        return 1000 * (time.perf_counter() - start), {}


@contextmanager
def timed_imports() -> Iterator[list[float]]:
    """Collects the milliseconds of the imports inside; those within others are not counted twice.

    They are statements, and calls of `importlib.import_module`.
    """
    spent: list[float] = []
    before, importing = (builtins.__import__, importlib.import_module), False

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal importing
            if importing:
                return function(*arguments, **options)
            start, importing = time.perf_counter(), True
            try:
                return function(*arguments, **options)
            finally:
                importing = False
                spent.append(1000 * (time.perf_counter() - start))

        return run

    builtins.__import__, importlib.import_module = map(timed, before)
    try:
        yield spent
    finally:
        builtins.__import__, importlib.import_module = before


def serve(requests: Connection, said: str) -> None:
    """Answers until the parent has gone; an exception is an answer too.

    (method of `Worker`, its argument) come in, (whether it went well, what it returned or raised)
    goes out. `said` is the file that takes what a subject prints.
    """
    with open(said, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    worker = Worker()
    while True:
        try:
            method, argument = requests.recv()
        except EOFError:
            return
        try:
            answer = (True, getattr(worker, method)(argument))
        except Exception as error:
            # Whatever a peer may raise: the parent reports it, and may ask for something else.
            answer = (False, f"{type(error).__name__}: {error}")
        requests.send(answer)
