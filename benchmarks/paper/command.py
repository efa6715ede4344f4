"""`python -m benchmarks paper` measures, part by part; `paper-report` shows what was measured."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from benchmarks.paper.record import read_results, store_part
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import SamClipError

RESULTS = Path("docs/results.json")
PAGE = Path("docs/results.md")
IMAGES = Path("docs/images/results")


class PartName(str, Enum):
    """The parts, in the order in which they are measured."""

    teachers = "teachers"
    text_to_mask = "text_to_mask"
    probing = "probing"
    resolutions = "resolutions"
    wise_ft = "wise_ft"
    lambdas = "lambdas"


def paper(
    runs: Annotated[
        Path, typer.Option(help="RUNS/CONFIG: teachers and stages, as training left them")
    ] = Path("runs/tiny"),
    only: Annotated[
        list[PartName] | None, typer.Option(help="measure this part; may be given again")
    ] = None,
    pictures: Annotated[int, typer.Option(help="composed single objects", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="composed scenes", min=1)] = 150,
    steps: Annotated[int, typer.Option(help="of wise_ft's and lambdas' trainings", min=1)] = 200,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: Annotated[Path, typer.Option(help="the results, JSON")] = RESULTS,
) -> None:
    """Reproduces the paper's tables on a small scale, on drawings that no training saw.

    Each part is stored in the results as soon as it is done, in place of an older one of it.
    """
    # Only here: they need torch, which the other commands do without.
    from benchmarks.paper.inputs import check_folders, open_inputs
    from benchmarks.paper.parts import PARTS, measure_part

    try:
        if not output.absolute().parent.is_dir():
            _fail(f"the folder of {output} does not exist")
        if output.exists():
            read_results(output)  # Hours of measuring must not end at a file that is none.
        names = [name.value for name in PartName if only is None or name in only]
        for name in names:
            check_folders(runs, PARTS[name].needs)
        inputs = open_inputs(runs, pictures=pictures, scenes=scenes, steps=steps, seed=seed)
        for name in names:
            store_part(output, name=name, part=measure_part(name, inputs))
            typer.echo(f"{name}: stored in {output}", err=True)
    except (SamClipError, OSError, ValueError, FloatingPointError) as error:
        _fail(str(error))


def paper_report(
    source: Annotated[Path, typer.Argument(help="what paper wrote", exists=True)] = RESULTS,
    page: Annotated[Path, typer.Option(help="the tables, Markdown")] = PAGE,
    images: Annotated[Path, typer.Option(help="folder of the figures, PNG")] = IMAGES,
) -> None:
    """Writes the tables and the figures of what was measured, beside the paper's own numbers."""
    try:
        from benchmarks.paper.figures import draw_figures
        from benchmarks.paper.report import render

        results = read_results(source)
        # All of it in memory first: if one figure fails, no file is changed.
        drawn = draw_figures(results)
        folder = Path(os.path.relpath(images, page.parent)).as_posix()
        text = render(results, figures={name: f"{folder}/{name}.png" for name in drawn})
        images.mkdir(parents=True, exist_ok=True)
        for name, content in drawn.items():
            with atomic_file(images / f"{name}.png") as file:
                file.write(content)
        with atomic_file(page) as file:
            file.write(text.encode())
    except ModuleNotFoundError as error:
        _fail(f"{error}: the figures need `pip install matplotlib`")
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)
