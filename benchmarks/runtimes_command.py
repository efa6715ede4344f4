"""Runs `python -m benchmarks runtimes` and writes what it found."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.record import describe_environment
from benchmarks.report import insert_table
from benchmarks.runtimes import Runtimes, measure_runtimes
from benchmarks.runtimes_report import render
from export.bundle_writer import ExportOptions
from export.external_weights import WeightPrecision
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.trt_network import import_tensorrt
from samclip_sdk.storage import atomic_file


def run_runtimes(
    checkpoints: Sequence[str],
    *,
    onnx: tuple[str, ...],
    coreml: tuple[str, ...],
    weights: WeightPrecision,
    compute_capability: str,
    output: Path,
    page: Path | None,
) -> None:
    """Measures, writes the JSON, and the tables into `page` between its markers.

    Raises:
        VerificationError: an artifact is below a gate.
        ValueError: an unknown precision, or a page without markers.
        SamClipError: anything else that an export may raise.
    """
    if page is not None:
        insert_table(page.read_text(encoding="utf-8"), "", name="runtimes")  # before any work
    options = ExportOptions(onnx=onnx, coreml=coreml, weights=weights)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch:
        models = tuple(
            measure_runtimes(
                checkpoint,
                Path(scratch) / str(number),
                options=options,
                compute_capability=compute_capability,
                console=console,
            )
            for number, checkpoint in enumerate(checkpoints)
        )
    found = Runtimes(
        environment=describe_environment(sys.argv[1:]), tensorrt=_tensorrt(), models=models
    )
    with atomic_file(output) as file:
        file.write(f"{found.model_dump_json(indent=1)}\n".encode())
    table = render(found)
    if page is not None:
        text = insert_table(page.read_text(encoding="utf-8"), table, name="runtimes")
        with atomic_file(page) as file:
            file.write(text.encode())
    Console().print(Markdown(table))


def _tensorrt() -> str | None:
    try:
        trt = import_tensorrt()
    except RuntimeMissingError:
        return None
    return f"{trt.__name__} {trt.__version__}"
