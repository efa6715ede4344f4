"""`python -m export CHECKPOINT OUT --resolution 1024 --resolution 336`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.bundle_writer import write_bundle
from export.options import (
    COREML_PRECISIONS,
    EXECUTORCH_PRECISIONS,
    LITERT_PRECISIONS,
    ONNX_PRECISIONS,
    ExportOptions,
    WeightPrecision,
    check_export,
    known_precisions,
)
from export.source import find_config, find_source
from samclip_sdk.bundle.manifest import Crop
from samclip_sdk.cli.terminal import working

CoreML = Annotated[
    list[str] | None,
    typer.Option(help="precision of the Core ML packages; repeatable. Alone, no ONNX is made."),
]
LiteRT = Annotated[
    list[str] | None,
    typer.Option(help="precision of the LiteRT files; repeatable. Alone, no ONNX is made."),
]
ExecuTorch = Annotated[
    list[str] | None,
    typer.Option(help="precision of the ExecuTorch programs; repeatable. Alone, no ONNX is made."),
]


def main(
    checkpoint: Annotated[
        str,
        typer.Argument(help="a checkpoint folder, or random: and a preset, such as random:vit_b"),
    ],
    out: Annotated[Path, typer.Argument(help="the bundle folder to make")],
    resolution: Annotated[
        list[int] | None,
        typer.Option(
            help="side of the image encoder's input in pixels; repeatable. The tasks' own "
            "resolutions are always there."
        ),
    ] = None,
    onnx: Annotated[
        list[str] | None,
        typer.Option(help="precision of the ONNX files; repeatable, the preferred one first"),
    ] = None,
    coreml: CoreML = None,
    litert: LiteRT = None,
    executorch: ExecuTorch = None,
    weights: Annotated[
        WeightPrecision,
        typer.Option(help="how ONNX files store their weights; what they compute in stays"),
    ] = "fp32",
    classification_crop: Annotated[
        Crop, typer.Option(help="what classification sees of a raw picture")
    ] = "letterbox",
    calibration_set: Annotated[
        Path | None,
        typer.Option(help="folder of photographs for int8's ranges [default: twelve of its own]"),
    ] = None,
) -> None:
    """Export a checkpoint as a verified bundle."""
    asked = onnx or ([] if coreml or litert or executorch else ["fp32"])
    with working("loading the model") as display:
        options = ExportOptions(
            onnx=known_precisions(asked, known=ONNX_PRECISIONS),
            coreml=known_precisions(coreml or [], known=COREML_PRECISIONS),
            litert=known_precisions(litert or [], known=LITERT_PRECISIONS),
            executorch=known_precisions(executorch or [], known=EXECUTORCH_PRECISIONS),
            resolutions=tuple(resolution or ()),
            weights=weights,
            classification_crop=classification_crop,
            calibration_set=calibration_set,
        )
        check_export(find_config(checkpoint), out, options=options)
        manifest = write_bundle(
            find_source(checkpoint), out, options=options, on_progress=display.show
        )
    size = sum(file.size_bytes for file in manifest.stored_files())
    typer.echo(f"{out}: {manifest.name} {manifest.revision}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
