"""`python -m benchmarks artifacts`: what checkpoints become for each runtime."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.artifacts.record import Artifacts
from benchmarks.artifacts.report import render
from benchmarks.command import Output, Write, measurement
from benchmarks.record import read_record


class Weights(str, Enum):
    """How fp32 graphs may store their weights."""

    fp16 = "fp16"
    fp32 = "fp32"


def artifacts(
    checkpoints: Annotated[list[str], typer.Argument(help="folders, or random:vit_b")],
    onnx: Annotated[
        list[str], typer.Option(help="a precision of the ONNX graphs; may be given again")
    ] = ["fp32", "fp16", "int8"],  # noqa: B006, as typer takes it
    coreml: Annotated[
        list[str], typer.Option(help="a precision of the Core ML programs; may be given again")
    ] = ["fp16", "int8", "palette6"],  # noqa: B006, as typer takes it
    weights: Annotated[
        Weights, typer.Option(help="how fp32 graphs store their weights")
    ] = Weights.fp16,
    compute_capability: Annotated[
        str, typer.Option(help="of the GPU that TensorRT engines are built for")
    ] = "8.9",
    output: Output = None,
    write: Write = False,
) -> None:
    """Exports checkpoints for every runtime; tells sizes, build times, parity, task metrics.

    Other models that the record holds from an earlier run stay there.
    """
    with measurement("artifacts", output=output, write=write) as measured:
        # Only here: they need all that exporting needs.
        from benchmarks.artifacts.measure import measure_artifacts
        from export.options import ExportOptions

        place = measured.place
        known = read_record(Artifacts, place) if place.exists() else Artifacts(models=())
        options = ExportOptions(onnx=tuple(onnx), coreml=tuple(coreml), weights=weights.value)
        with (
            Console(stderr=True).status("exporting") as status,
            tempfile.TemporaryDirectory() as at,
        ):
            models = tuple(
                measure_artifacts(
                    checkpoint,
                    Path(at) / str(number),
                    options=options,
                    compute_capability=compute_capability,
                    on_progress=status.update,
                )
                for number, checkpoint in enumerate(checkpoints)
            )
        found = known.updated(models)
        measured.finish(found, render(found))
