"""The command line: `samclip classify | segment | text | embed | annotate | info | verify | ...`.

Answers go to standard output (a table, or one line of JSON with --json); progress, warnings and
errors go to standard error. Exit codes: 0 done, 1 an error (one line says which), 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.cli.annotate import annotate
from samclip_sdk.cli.bench import bench
from samclip_sdk.cli.bundle import compile_engines, info, verify
from samclip_sdk.cli.terminal import print_json, print_table, show_progress, working
from samclip_sdk.cli.tune import tune
from samclip_sdk.client import DEFAULT_MODEL, SamClip
from samclip_sdk.result_base import Result

app = typer.Typer(
    help="One merged SAM + CLIP model: classify, segment by prompt, segment by text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(annotate)
app.command()(bench)
app.command()(info)
app.command()(verify)
app.command("compile")(compile_engines)
app.command()(tune)


def _check_outputs(paths: list[Path] | None) -> list[Path] | None:
    """Refuses an output that could not be written, before any work is done."""
    for path in paths or ():
        if path.suffix.lower() not in (".png", ".json", ".npz"):
            raise typer.BadParameter(f"{path} must end in .png, .json or .npz")
        if not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"the folder of {path} does not exist")
    return paths


Picture = Annotated[Path, typer.Argument(metavar="IMAGE", help="the picture")]
Labels = Annotated[list[str], typer.Argument(metavar="LABEL...", help="nouns, such as: dog grass")]
Model = Annotated[str, typer.Option(help="a bundle's folder, .zip or name; or a checkpoint")]
Runtime = Annotated[str, typer.Option(help="onnx, openvino, coreml, tensorrt, torch or auto")]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, fp16, bf16, int8 or auto; by default the bundle's own choice"),
]
Threads = Annotated[int, typer.Option(min=0, help="of onnx and openvino; 0: their choice")]
AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="write an overlay (.png), the result with COCO masks (.json) or arrays (.npz); "
        "repeatable",
        callback=_check_outputs,
    ),
]


@app.command()
def classify(
    image: Picture,
    labels: Labels,
    output: Outputs = None,
    model: Model = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    precision: Precision = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Tell which of the labels describes the picture best."""
    with (
        working("classifying"),
        SamClip.load(
            runtime, model=model, precision=precision, threads=threads, on_progress=show_progress
        ) as samclip,
    ):
        result = samclip.classify(image, labels)
        _save(result, output, image=image)
    rows = [(label, f"{prob:.3f}") for label, prob in result.top(len(result.labels))]
    _print(result, as_json=as_json, columns=("label", "probability"), rows=rows, speed=result.speed)


@app.command()
def segment(
    image: Picture,
    point: Annotated[
        list[str] | None,
        typer.Option(help="X,Y (on the object) or X,Y,0 (not on it); all points are one prompt"),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="X0,Y0,X1,Y1; each box is a prompt of its own")
    ] = None,
    multimask: Annotated[
        bool, typer.Option("--multimask", help="three masks a prompt, for an ambiguous one")
    ] = False,
    output: Outputs = None,
    model: Model = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    precision: Precision = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Segment what points and boxes, in pixels of the picture, point at."""
    points = [_numbers(text, option="--point", counts=(2, 3)) for text in point or ()]
    boxes = [_numbers(text, option="--box", counts=(4,)) for text in box or ()]
    if not points and not boxes:
        raise typer.BadParameter("give --point or --box")
    with (
        working("segmenting"),
        SamClip.load(
            runtime, model=model, precision=precision, threads=threads, on_progress=show_progress
        ) as samclip,
    ):
        result = samclip.segment(
            image,
            points=[[each[:2] for each in points]] if points else None,
            point_labels=[[_label(each) for each in points]] if points else None,
            boxes=boxes or None,
            multimask_output=multimask,
        )
        _save(result, output, image=image)
    rows = [
        (str(prompt), f"{score:.3f}", f"{mask.mean():.1%}", " ".join(f"{x:.0f}" for x in edges))
        for prompt, score, mask, edges in zip(
            result.prompt_index, result.scores, result.masks, result.boxes, strict=True
        )
    ]
    columns = ("prompt", "predicted IoU", "of the picture", "box")
    _print(result, as_json=as_json, columns=columns, rows=rows, speed=result.speed)


@app.command()
def text(
    image: Picture,
    labels: Labels,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="presence below which a label is absent"),
    ] = None,
    mask_threshold: Annotated[
        float | None, typer.Option(help="the logit that a pixel must exceed")
    ] = None,
    points_per_class: Annotated[int, typer.Option(min=1, help="points drawn for a label")] = 3,
    refine: Annotated[
        bool, typer.Option(help="let the mask decoder draw the masks, or the CLIP head alone")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="of the draw of points")] = 0,
    output: Outputs = None,
    model: Model = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    precision: Precision = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Find each label in the picture, and its mask if it is there."""
    with (
        working("segmenting"),
        SamClip.load(
            runtime, model=model, precision=precision, threads=threads, on_progress=show_progress
        ) as samclip,
    ):
        result = samclip.segment_text(
            image,
            labels,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
            seed=seed,
        )
        _save(result, output, image=image)
    rows = [
        (label, f"{presence:.3f}", f"{mask.mean():.1%}" if label in result.present else "absent")
        for label, presence, mask in zip(result.labels, result.presence, result.masks, strict=True)
    ]
    columns = ("label", "presence", "of the picture")
    _print(result, as_json=as_json, columns=columns, rows=rows, speed=result.speed)


@app.command()
def embed(
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="a picture")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="a text instead of a picture; repeatable")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the embeddings, float32 [N,E], as .npy"),
    ] = None,
    model: Model = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    precision: Precision = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Embed a picture, or texts, in the space that both share; unit length."""
    if (image is None) == (not text):
        raise typer.BadParameter("give a picture or --text, one of the two")
    if output is not None and output.suffix.lower() != ".npy":
        raise typer.BadParameter(f"{output} must end in .npy")
    with (
        working("embedding"),
        SamClip.load(
            runtime, model=model, precision=precision, threads=threads, on_progress=show_progress
        ) as samclip,
    ):
        if image is None:
            names, embeddings = list(text or ()), samclip.embed_text(text or ())
        else:
            names, embeddings = [str(image)], samclip.embed_image(image)[None]
        if output is not None:
            with atomic_file(output) as file:
                np.save(file, embeddings)
    if as_json:
        print_json({"names": names, "embeddings": embeddings.tolist()})
        return
    rows = [
        (name, " ".join(f"{value:+.3f}" for value in embedding[:6]) + " ...")
        for name, embedding in zip(names, embeddings, strict=True)
    ]
    print_table(("of", f"{embeddings.shape[1]} numbers"), rows)


def _save(result: Result[object], outputs: Sequence[Path] | None, *, image: Path) -> None:
    for path in outputs or ():
        result.save(path, image=image)


def _print(
    result: Result[object],
    *,
    as_json: bool,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    speed: Mapping[str, float],
) -> None:
    if as_json:
        typer.echo(result.to_json())
    else:
        print_table(columns, rows)
        typer.echo(", ".join(f"{step} {ms:.0f} ms" for step, ms in speed.items()))


def _label(point: Sequence[float]) -> int:
    """The label of a point X,Y or X,Y,LABEL."""
    label = point[2] if len(point) == 3 else 1.0
    if not label.is_integer():
        raise typer.BadParameter(f"the label {label:g} of a --point is not an integer")
    return int(label)


def _numbers(text: str, *, option: str, counts: Sequence[int]) -> list[float]:
    """Reads "12,34" as numbers, or fails as wrong usage."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise typer.BadParameter(f"{option} {text!r} is not {wanted} numbers with commas between")
    return numbers
