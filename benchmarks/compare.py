"""Two tables of one suite side by side: `python -m benchmarks compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.figures import digits, times
from benchmarks.intervals import Estimate, quotient
from benchmarks.suite import one_line_errors
from benchmarks.table import Part, Table, read_table

FiguresFile = Annotated[Path, typer.Argument(help="figures of a suite, .jsonl", exists=True)]


def compare(
    first: FiguresFile,
    second: FiguresFile,
    metric: Annotated[str, typer.Option(help="that is compared")] = "ms",
) -> None:
    """Compares what two runs of a suite found: the second's figures as multiples of the first's."""
    with one_line_errors():
        typer.echo(render_comparison(read_table(first), read_table(second), metric=metric))


def render_comparison(first: Table, second: Table, *, metric: str) -> str:
    """Ratios with the spread that both allow, and what else differs between the runs.

    Subjects of one key are compared; or the only ones of both, whatever their keys.
    """
    ones, twos = ({key: part for part in t.parts for key in part.subjects} for t in (first, second))
    pairs = {key: key for key in ones if key in twos}
    if not pairs and len(ones) == len(twos) == 1:
        pairs = dict(zip(ones, twos, strict=True))
    rows, unlike = [], dict[str, None]()
    for subject, other in pairs.items():
        one, two = ones[subject], twos[other]
        for split in one.splits(subject, metric):
            before, after = one.get(subject, metric, split), two.get(other, metric, split)
            if ratio := quotient(after, before):
                key = subject if subject == other else f"{subject} → {other}"
                cells = [key, split, digits(before), digits(after), times(ratio), _verdict(ratio)]
                rows.append(f"| {' | '.join(cells)} |")
        told = _circumstances(one, subject), _circumstances(two, other)
        for what in told[0] | told[1]:
            mine, theirs = (each.get(what) for each in told)
            if mine != theirs:
                unlike[f"**Not alike**: {what}: {mine} and {theirs}\n"] = None
    if not rows:
        raise ValueError(
            f"the files share no {metric} of a subject: {', '.join(ones)} and {', '.join(twos)}"
        )
    heads = f"| | | first, {metric} | second, {metric} | ratio | the second is |"
    return "\n".join([*unlike, heads, "|---|---|---:|---:|---:|---:|", *rows, ""])


def _verdict(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return "of unknown spread"
    if ratio.high < 1:
        return "less"
    return "more" if ratio.low > 1 else "within the spread"


def _circumstances(part: Part, subject: str) -> dict[str, Any]:
    """What should be alike: the machine, and what is told of the subject."""
    run, about = part.run, part.run.settings.get("subjects", {}).get(subject, {})
    versions = about.get("versions", run.versions)
    return {
        **{"cpu": run.cpu, "cores": run.cores, "OMP_NUM_THREADS": run.threads},
        **run.settings.get("device", {}),
        **{f"{subject}, {name}": about[name] for name in ("precision", "notes") if name in about},
        **{f"version of {package}": version for package, version in versions.items()},
    }
