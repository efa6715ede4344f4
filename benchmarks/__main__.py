"""`python -m benchmarks`: measures how well and how fast, and writes it where people read it.

A command keeps its figures in the folder runs and prints its tables. With `--write` the figures go
to docs/benchmarks, and every page that shows them is written again.
"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.annotate import annotate
from benchmarks.compare import compare
from benchmarks.encoders import encoders, floats
from benchmarks.growth import growth
from benchmarks.pages import PAGES, PAPER, ROOT, stale_pages, write_pages
from benchmarks.paper.command import paper
from benchmarks.paper.words import SUITE
from benchmarks.public.command import LAYOUTS, evaluate
from benchmarks.quality.command import quality, quality_suite
from benchmarks.quality.objects import objects
from benchmarks.reliability.kills import kills
from benchmarks.reliability.memory import long_run, memory
from benchmarks.reliability.threads import threads
from benchmarks.serve import serve
from benchmarks.since import since, which_since
from benchmarks.speed.command import speed, which_table, which_tables
from benchmarks.suite import command, one_line_errors
from benchmarks.tiles import tiles
from benchmarks.tried import tried
from benchmarks.video.measure import video
from benchmarks.words.command import words, words_suite

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__
)
app.command("quality")(command(quality_suite, quality, shows=lambda suite: [suite]))
for suite in (objects, video, tiles, growth, serve, encoders, tried, floats):
    name = suite.__name__
    app.command(name)(command(name, suite, shows=[name]))
app.command("evaluate", epilog=LAYOUTS)(command("evaluate", evaluate, shows=["evaluate"]))
app.command("speed")(command(which_table, speed, shows=which_tables))
app.command("since")(command(which_since, since, shows=lambda suite: [f"since@{suite}"]))
app.command("words")(command(words_suite, words, shows=["words"]))
app.command()(compare)
app.command("paper")(command(SUITE, paper, shows=list(PAPER.values())))
campaigns = typer.Typer(
    no_args_is_help=True, help="Threads, memory, kills and long runs: see docs/reliability.md."
)
for campaign in (threads, memory, kills, long_run):
    shown = list(PAGES["docs/reliability.md"])
    name = campaign.__name__.replace("_", "-")
    campaigns.command(name)(command("reliability", campaign, shows=shown))
app.add_typer(campaigns, name="reliability")
labels_and_workers = ["annotate_labels", "annotate_workers"]
app.command("annotate")(command("annotate", annotate, shows=labels_and_workers))


@app.command()
def pages(
    write: Annotated[
        bool, typer.Option("--write", help="write those that are not current, and all charts")
    ] = False,
) -> None:
    """Checks that every page shows the figures of the tables in docs/benchmarks."""
    with one_line_errors():
        if write:
            for page in write_pages(ROOT):
                typer.echo(f"Written: {page}")
        elif stale := stale_pages(ROOT):
            raise ValueError(
                f"{', '.join(stale)}: not what was measured; `python -m benchmarks pages --write`"
            )


if __name__ == "__main__":
    app()
