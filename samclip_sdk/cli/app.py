"""The command line: `samclip classify | segment | text | instances | everything | embed | ...`.

Answers go to standard output (a table, or one line of JSON with --json); progress, warnings and
errors go to standard error. Exit codes: 0 done, 1 an error (one line says which), 2 wrong usage,
130 stopped with Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperCommand

from samclip_sdk import __version__
from samclip_sdk.cli.annotate import annotate
from samclip_sdk.cli.bench import bench
from samclip_sdk.cli.bundle import compile_engines, info, push, sign
from samclip_sdk.cli.cluster import AnnotateCommand
from samclip_sdk.cli.image import classify, embed, everything, instances, segment, text
from samclip_sdk.cli.learn import learn
from samclip_sdk.cli.many_images import LabelCommand
from samclip_sdk.cli.serve import serve
from samclip_sdk.cli.terminal import print_line
from samclip_sdk.cli.tune import tune
from samclip_sdk.cli.verify import verify
from samclip_sdk.cli.video import video
from samclip_sdk.cli.words import words

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Images and films": (
        *(classify, text, instances, segment, everything),
        *(video, embed, annotate, serve),
    ),
    "Labels": (words, learn),
    "This device": (verify, bench, tune, compile_engines),
    "Bundles": (info, sign, push),
}
"""What `samclip --help` shows, in its order."""

NAMES: dict[Callable[..., None], str] = {compile_engines: "compile"}
"""Of commands that are not called like their function."""

CLASSES: dict[Callable[..., None], type[TyperCommand]] = {
    classify: LabelCommand,
    text: LabelCommand,
    instances: LabelCommand,
    annotate: AnnotateCommand,
}
"""Of commands that read their arguments in a way of their own."""

for panel, commands in PANELS.items():
    for command in commands:
        own = CLASSES.get(command)
        app.command(NAMES.get(command), cls=own, rich_help_panel=panel)(command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print_line(f"samclip-sdk {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="tell the version", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """One model by the method of SAM-CLIP: classify, segment by prompt, segment by text."""
