"""Two tables of one suite side by side: `python -m benchmarks compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.intervals import Estimate, quotient
from benchmarks.pages import digits, grid, times
from benchmarks.suite import one_line_errors
from benchmarks.table import Part, Table, read_table

Place = Annotated[Path, typer.Argument(help="figures of a suite, .jsonl", exists=True)]
Pairs = list[tuple[Part, str, Part, str]]


def compare(
    first: Place,
    second: Place,
    metric: Annotated[str, typer.Option(help="that is compared")] = "ms",
) -> None:
    """Compares what two runs of a suite found: the second's figures as multiples of the first's."""
    with one_line_errors():
        typer.echo(render_comparison(read_table(first), read_table(second), metric=metric))


def render_comparison(first: Table, second: Table, *, metric: str) -> str:
    """Ratios with the spread that both allow, and what else differs between the runs."""
    pairs = _pairs(first, second)
    rows = []
    for one, subject, two, other in pairs:
        key = subject if subject == other else f"{subject} → {other}"
        for split in one.splits(subject, metric):
            before, after = one.get(subject, metric, split), two.get(other, metric, split)
            ratio = quotient(after, before)
            if ratio is not None:
                verdict = _verdict(ratio)
                rows.append([key, split, digits(before), digits(after), times(ratio), verdict])
    if not rows:
        keys = [
            ", ".join(key for part in each.parts for key in part.subjects)
            for each in (first, second)
        ]
        raise ValueError(f"the files share no {metric} of a subject: {keys[0]} and {keys[1]}")
    warnings = dict.fromkeys(line for pair in pairs for line in _warnings(*pair))
    told = "".join(f"**Not alike**: {each}\n\n" for each in warnings)
    heads = ("", "", f"first, {metric}", f"second, {metric}", "ratio", "the second is")
    return f"{told}{grid(heads, rows, words=2)}\n"


def _pairs(first: Table, second: Table) -> Pairs:
    """The subjects of one key; or the only ones of both, whatever their keys."""
    ones, twos = (
        [(part, key) for part in t.parts for key in part.subjects] for t in (first, second)
    )
    found = [(*one, *two) for one in ones for two in twos if one[1] == two[1]]
    return found or ([(*ones[0], *twos[0])] if len(ones) == len(twos) == 1 else [])


def _verdict(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return "of unknown spread"
    if ratio.high < 1:
        return "less"
    return "more" if ratio.low > 1 else "within the spread"


def _warnings(one: Part, subject: str, two: Part, other: str) -> Iterator[str]:
    before, after = _circumstances(one, subject), _circumstances(two, other)
    for what in before | after:
        if before.get(what) != after.get(what):
            yield f"{what}: {before.get(what)} and {after.get(what)}"


def _circumstances(part: Part, subject: str) -> dict[str, Any]:
    """What should be alike: the machine, and what is told of the subject."""
    run, about = part.run, part.run.settings.get("subjects", {}).get(subject, {})
    machine = {"cpu": run.cpu, "cores": run.cores, "OMP_NUM_THREADS": run.threads}
    versions = about.get("versions", run.versions)
    return {
        **machine,
        **run.settings.get("device", {}),
        **{f"{subject}, {name}": about[name] for name in ("precision", "notes") if name in about},
        **{f"version of {package}": version for package, version in versions.items()},
    }
