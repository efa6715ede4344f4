"""What clients of the server got beside the SDK in process, and its table."""

from __future__ import annotations

from benchmarks.record import Model, Record, Run
from benchmarks.report import spread, table, three_digits


class Load(Record):
    """What so many clients got, each with one request at a time.

    `a_second` is the median of the rounds, `ratio` that of its quotients with the SDK's in the same
    round, with the least and the most; times are of all requests. `failed` got another status
    than 200.
    """

    clients: int
    requests: int
    a_second: float
    ratio: tuple[float, float, float]
    p50_ms: float
    p99_ms: float
    failed: int


class Workload(Record):
    """A kind of request; `sdk_a_second` is the median of the SDK's rounds in one process."""

    name: str
    sdk_a_second: float
    loads: tuple[Load, ...]


class Killed(Record):
    """A worker of two was killed when half of the requests were answered."""

    requests: int
    answered: int


class Serving(Run):
    """Of one model, with as many threads as its runtime takes."""

    model: Model
    workers: int
    rounds: int
    workloads: tuple[Workload, ...]
    killed: Killed


def render(record: Serving) -> str:
    """A table of what clients got, and what became of the requests of a killed worker."""
    rows = [
        [
            workload.name,
            str(load.clients),
            three_digits(load.a_second),
            f"{spread(*load.ratio)}×",
            *map(three_digits, (load.p50_ms, load.p99_ms)),
            str(load.failed),
        ]
        for workload in record.workloads
        for load in workload.loads
    ]
    heads = ("", "clients", "a second", "times the SDK's", "p50, ms", "p99, ms", "failed")
    killed = record.killed
    return (
        f"{table(heads, rows)}\n\nOf {killed.requests} requests, in the middle of which one of two "
        f"workers was killed, {killed.answered} were answered.\n\n{record.model.text} on "
        f"{record.model.runtime} {record.model.precision}, {record.workers} worker(s); "
        f"{record.rounds} rounds, in brackets the least and the most; "
        f"{record.environment.footnote}\n"
    )
