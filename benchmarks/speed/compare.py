"""Two latency.json side by side: ratios of medians with their spread, and what else differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.quality.report import NONE
from benchmarks.speed.report import milliseconds
from benchmarks.speed.schema import Latency, SubjectRow, WorkloadRow


@dataclass(frozen=True)
class Ratio:
    """How long something takes in the second file, as a multiple of the first.

    Attributes:
        median: of the medians.
        low: of the second's fastest round to the first's slowest.
        high: of the second's slowest round to the first's fastest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, first: WorkloadRow, second: WorkloadRow) -> Ratio:
        """Compares a workload's rows."""
        before, after = first.rounds_p50_ms, second.rounds_p50_ms
        return cls(
            second.warm.p50_ms / first.warm.p50_ms,
            low=min(after) / max(before),
            high=max(after) / min(before),
        )

    @property
    def verdict(self) -> str:
        """Faster or slower only where no round of one is within the rounds of the other."""
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "within the spread"


def render_comparison(first: Latency, second: Latency) -> str:
    """The warnings, if any, and the table, as Markdown.

    Raises:
        ValueError: there is nothing that both have.
    """
    pairs = _pairs(first, second)
    rows = [
        (f"{one.key}" if one.key == two.key else f"{one.key} → {two.key}", name, before, after)
        for one, two in pairs
        for name, before, after in _shared(one, two)
    ]
    if not rows:
        raise ValueError(
            "the files share no subject and workload: "
            f"{_keys(first) or 'none'} and {_keys(second) or 'none'}"
        )
    lines = [f"**Not alike**: {warning}" for warning in _warnings(first, second, pairs=pairs)]
    lines += [""] if lines else []
    lines += ["| | workload | first, ms | second, ms | ratio | spread | |"]
    lines += ["|---|---|---:|---:|---:|---:|---|"]
    for key, name, before, after in rows:
        ratio = Ratio.of(before, after)
        alone = min(len(before.rounds_p50_ms), len(after.rounds_p50_ms)) == 1
        spread = NONE if alone else f"{ratio.low:.2f}–{ratio.high:.2f}"
        verdict = "one round tells no spread" if alone else ratio.verdict
        lines.append(
            f"| {key} | {name} | {milliseconds(before.warm.p50_ms)} | "
            f"{milliseconds(after.warm.p50_ms)} | {ratio.median:.2f} | {spread} | {verdict} |"
        )
    return "\n".join([*lines, ""])


def _pairs(first: Latency, second: Latency) -> list[tuple[SubjectRow, SubjectRow]]:
    """The subjects of one key; or the only ones of both, whatever their keys."""
    shared = [
        (row, other) for row in first.subjects if (other := second.subject(row.key)) is not None
    ]
    if not shared and len(first.subjects) == len(second.subjects) == 1:
        return [(first.subjects[0], second.subjects[0])]
    return shared


def _shared(one: SubjectRow, two: SubjectRow) -> Iterator[tuple[str, WorkloadRow, WorkloadRow]]:
    for row in one.workloads:
        if (other := two.workload(row.workload)) is not None:
            yield row.workload, row, other


def _warnings(
    first: Latency, second: Latency, *, pairs: list[tuple[SubjectRow, SubjectRow]]
) -> Iterator[str]:
    one, two = first.device, second.device
    for name in type(one).model_fields:
        if (before := getattr(one, name)) != (after := getattr(two, name)):
            yield f"the device's {name}: {before} and {after}"
    if first.environment.threads != second.environment.threads:
        yield (f"OMP_NUM_THREADS: {first.environment.threads} and {second.environment.threads}")
    for row, other in pairs:
        for what in ("precision", "notes"):
            if (before := getattr(row, what)) != (after := getattr(other, what)):
                yield f"{row.key}, {what}: {before} and {after}"
        before, after = row.package_versions, other.package_versions
        for package in sorted(before.keys() | after.keys()):
            if before.get(package) != after.get(package):
                yield (
                    f"{row.key}, version of {package}: {before.get(package, 'none')} and "
                    f"{after.get(package, 'none')}"
                )


def _keys(latency: Latency) -> str:
    return ", ".join(row.key for row in latency.subjects)
