"""Many cases, in a process of their own: a crash or a hang is a failure, and not the end of all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from tests.fuzz.oracle import Verdict, judge
from tests.fuzz.subjects import Subject, random_of
from tests.fuzz.world import new_world

LIMIT_S = 60.0
"""Of a case. One takes milliseconds; on a machine with other work a hang must not be guessed."""

START_S = 600.0
END_S = 30.0


@dataclass
class Tally:
    """What came of a subject's cases; `failures` are (index, what was given, why)."""

    subject: str
    cases: int = 0
    answers: int = 0
    refusals: int = 0
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, index: int, what: str, verdict: Verdict) -> None:
        """Counts a case."""
        self.cases += 1
        self.answers += verdict.kind == "answer"
        self.refusals += verdict.kind == "refusal"
        if verdict.kind == "failure":
            self.failures.append((index, what, verdict.why))


def run_subject(
    subject: str,
    *,
    opened: Subject,
    indices: range,
    seed: int,
    on_case: Callable[[Tally], None],
    limit_s: float = LIMIT_S,
) -> Tally:
    """Runs a subject's cases one after the other.

    Args:
        subject: its name.
        opened: what draws its cases, a function of a module, that another process can import.
        indices: the numbers of the cases.
        seed: of all.
        on_case: called after each.
        limit_s: of a case.
    """
    tally = Tally(subject)
    rest = indices
    while rest:
        cases = _cases_until_trouble(
            subject, opened=opened, indices=rest, seed=seed, limit_s=limit_s
        )
        for index, what, verdict in cases:
            tally.add(index, what, verdict)
            on_case(tally)
            rest = range(index + 1, indices.stop)
    return tally


def _cases_until_trouble(
    subject: str, *, opened: Subject, indices: range, seed: int, limit_s: float
) -> Iterator[tuple[int, str, Verdict]]:
    """Yields the cases of one process, which ends after the last, or after one that breaks it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, subject, opened, indices, seed)
    process = context.Process(target=_work, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        _receive(ours, process, limit_s=START_S)
        for index in indices:
            what = "while it was drawn"
            try:
                what = str(_receive(ours, process, limit_s=limit_s))
                verdict = _receive(ours, process, limit_s=limit_s)
            except _TroubleError as error:
                yield index, what, Verdict("failure", str(error))
                return
            assert isinstance(verdict, Verdict)
            yield index, what, verdict
        process.join(END_S)  # it removes what it has written
    finally:
        process.kill()
        process.join()


class _TroubleError(Exception):
    """A process that crashed or hangs."""


def _receive(connection: Connection, process: BaseProcess, *, limit_s: float) -> object:
    if not connection.poll(limit_s):
        raise _TroubleError(f"hangs: no answer after {limit_s:g} s")
    try:
        return connection.recv()
    except EOFError:
        process.join()
        raise _TroubleError(f"crashes: the process ended with {process.exitcode}") from None


def _work(connection: Connection, subject: str, opened: Subject, indices: range, seed: int) -> None:
    """What the process does: tells a case before it is run, and what came of it."""
    with new_world() as world:
        draw = opened(world)
        connection.send("ready")
        for index in indices:
            try:
                case = draw(random_of(subject, seed=seed, index=index))
            except Exception as error:
                connection.send("while it was drawn")
                connection.send(Verdict("failure", f"the fuzzer's own fault: {error!r}"))
                continue
            connection.send(case.what)
            connection.send(judge(case, folder=world.folder))
