"""How times compare: ratios with their spread, and two records side by side.

A ratio of medians is a result only beyond its spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report import NONE, table, three_digits
from benchmarks.speed.record import Speed, Spread, SubjectRow

Pairs = list[tuple[SubjectRow, SubjectRow]]


@dataclass(frozen=True)
class Ratio:
    """A multiple, and the least and the greatest that the two spreads allow; None if unknown."""

    middle: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: Spread | None, base: Spread | None) -> Ratio | None:
        """How many times `base` a value is; None where one of the two is not known."""
        if value is None or base is None:
            return None
        low = high = None
        if value.low_ms is not None and base.high_ms:
            low = value.low_ms / base.high_ms
        if value.high_ms is not None and base.low_ms:
            high = value.high_ms / base.low_ms
        return cls(value.p50_ms / base.p50_ms, low, high)

    @property
    def verdict(self) -> str:
        """Faster or slower only if the whole spread is."""
        if self.low is None or self.high is None:
            return "its spread is unknown"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "within the spread"

    def text(self, unit: str = "×") -> str:
        """The multiple, and in brackets its spread, if it has one."""
        known = self.low is not None and self.low != self.high
        spread = f" ({_digits(self.low)}–{_digits(self.high)})" if known else ""
        return f"{_digits(self.middle)}{unit}{spread}"


def _digits(value: float | None) -> str:
    """Three digits, of which zeros are some."""
    return three_digits(value) if value is None or value >= 100 else f"{value:#.3g}"


def exact(value: float | None) -> Spread | None:
    """Something that is not of runs, such as a size, as what can be compared; None stays None."""
    return None if value is None else Spread(p50_ms=value, low_ms=value, high_ms=value)


def render_comparison(first: Speed, second: Speed) -> str:
    """Two records side by side: ratios of medians with their spread, and what else differs.

    Raises:
        ValueError: there is nothing that both have.
    """
    pairs = _pairs(first, second)
    rows = []
    for one, two in pairs:
        key = one.key if one.key == two.key else f"{one.key} → {two.key}"
        for before in one.workloads:
            if (after := two.workload(before.workload)) is not None:
                ratio = Ratio.of(after.spread, before.spread)
                times = (three_digits(each.warm.p50_ms) for each in (before, after))
                rows.append([key, before.workload, *times, ratio.text(), ratio.verdict])
    if not rows:
        keys = (", ".join(row.key for row in each.subjects) or NONE for each in (first, second))
        raise ValueError(f"the files share no subject and workload: {' and '.join(keys)}")
    lines = [f"**Not alike**: {warning}\n\n" for warning in _warnings(first, second, pairs=pairs)]
    heads = ("", "workload", "first, ms", "second, ms", "ratio", "the second is")
    return f"{''.join(lines)}{table(heads, rows, words=2)}\n"


def _pairs(first: Speed, second: Speed) -> Pairs:
    """The subjects of one key; or the only ones of both, whatever their keys."""
    shared = [
        (row, other) for row in first.subjects if (other := second.subject(row.key)) is not None
    ]
    if not shared and len(first.subjects) == len(second.subjects) == 1:
        return [(first.subjects[0], second.subjects[0])]
    return shared


def _warnings(first: Speed, second: Speed, *, pairs: Pairs) -> Iterator[str]:
    one, two = (dict(each.device) | each.device.told for each in (first, second))
    for name in sorted((one.keys() | two.keys()) - {"told"}):
        yield from _differ(f"the device's {name}", one.get(name), two.get(name))
    threads = (each.environment.threads for each in (first, second))
    yield from _differ("OMP_NUM_THREADS", *threads)
    for row, other in pairs:
        for what in ("precision", "notes"):
            yield from _differ(f"{row.key}, {what}", getattr(row, what), getattr(other, what))
        before, after = row.package_versions, other.package_versions
        for package in sorted(before.keys() | after.keys()):
            versions = (each.get(package, "none") for each in (before, after))
            yield from _differ(f"{row.key}, version of {package}", *versions)


def _differ(what: str, before: object, after: object) -> Iterator[str]:
    if before != after:
        yield f"{what}: {before} and {after}"
