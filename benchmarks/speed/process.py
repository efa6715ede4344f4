"""The parent's side of a worker: asks it, reads its memory, and tells why it did not answer."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any, Literal

from benchmarks.record import publishable
from benchmarks.speed.worker import serve
from samclip_sdk.timing import PeakMemory

_FAREWELL_S = 20


class SubjectError(Exception):
    """A subject did not do what it was asked; the message is the reason, in one line."""


class WorkerProcess:
    """A worker in a fresh process, until it is closed. A context manager.

    After `limit_s` seconds an answer is given up, and the process ended. `memory` is the peak
    memory of the process.
    """

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name, "said")
        # Spawned: a forked process would hold all that this one has imported.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, str(self._said)))
        self._process.start()
        theirs.close()
        self.memory = PeakMemory(self._process.pid)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(_FAREWELL_S)
        self._process.kill()
        self._process.join()
        self._folder.cleanup()

    def ask(self, method: Literal["open", "run"], argument: str) -> Any:
        """Opens a subject, or runs a workload of it once, see `Worker`.

        Raises:
            SubjectError: it did not.
        """
        try:
            self._pipe.send((method, argument))
            if not self._pipe.poll(self.limit_s):
                self._process.kill()
                raise SubjectError(f"no answer within {self.limit_s:g} s")
            went_well, told = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_FAREWELL_S)
            said = self._said.read_text(errors="replace") if self._said.exists() else ""
            last = (said.strip() or "it said nothing").splitlines()[-1]
            how = f"the process ended with code {self._process.exitcode}: {last}"
            raise SubjectError(publishable(how)) from error
        if not went_well:
            raise SubjectError(publishable(told))
        return told
