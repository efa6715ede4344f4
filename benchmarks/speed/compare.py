"""Two speed.json side by side: ratios of medians with their spread, and what else differs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report import NONE, milliseconds, table
from benchmarks.speed.ratio import Ratio
from benchmarks.speed.record import Speed, SubjectRow

Pairs = list[tuple[SubjectRow, SubjectRow]]


def render_comparison(first: Speed, second: Speed) -> str:
    """The warnings, if any, and the table, as Markdown.

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
                times = (milliseconds(each.warm.p50_ms) for each in (before, after))
                rows.append([key, before.workload, *times, str(ratio), ratio.verdict])
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
    one, two = first.device, second.device
    for name in type(one).model_fields:
        yield from _differ(f"the device's {name}", getattr(one, name), getattr(two, name))
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
