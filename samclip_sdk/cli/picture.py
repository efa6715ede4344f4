"""The commands about one picture: `samclip classify | segment | text | embed`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.cli.options import (
    AsJson,
    Labels,
    LabelsFile,
    MaskThreshold,
    ModelOptions,
    OtherPicture,
    Picture,
    RunOptions,
    TextCache,
    TextOptions,
    check_output,
    check_picture,
    grouped,
    read_labels,
)
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_line, print_table, working
from samclip_sdk.results.result_base import Result

Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="write an overlay (.png), the result with COCO masks (.json) or arrays (.npz); "
        "repeatable",
    ),
]


@grouped
def classify(
    image: Picture,
    labels: Labels = None,
    *,
    labels_file: LabelsFile = None,
    text_cache: TextCache = True,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Tell which of the labels describes the picture best."""
    with working("classifying") as display:
        names = read_labels(labels, labels_file)
        _check(image, output)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            result = samclip.classify(image, names)
        _save(result, output)
    rows = [(label, f"{prob:.3f}") for label, prob in result.top(len(result.labels))]
    _print(result, as_json=as_json, columns=("label", "probability"), rows=rows)


@grouped
def segment(
    image: Picture,
    *,
    point: Annotated[
        list[str] | None,
        typer.Option(help="X,Y (on the object) or X,Y,0 (not on it); all points are one prompt"),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="X0,Y0,X1,Y1; each box is a prompt of its own")
    ] = None,
    multimask: Annotated[
        bool, typer.Option(help="three masks a prompt, for an ambiguous one, or one")
    ] = True,
    mask_threshold: MaskThreshold = None,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Segment what points and boxes, in pixels of the picture, point at."""
    with working("segmenting") as display:
        points = [_numbers(text, option="--point", counts=(2, 3)) for text in point or ()]
        point_labels = [_point_label(each) for each in points]
        boxes = [_numbers(text, option="--box", counts=(4,)) for text in box or ()]
        if not points and not boxes:
            raise WrongUsageError("give --point or --box")
        _check(image, output)
        with opened.load(run, display=display) as samclip:
            result = samclip.segment(
                image,
                points=[[each[:2] for each in points]] if points else None,
                point_labels=[point_labels] if points else None,
                boxes=boxes or None,
                multimask_output=multimask,
                mask_threshold=mask_threshold,
            )
        _save(result, output)
    rows = [
        (
            str(item.prompt_index),
            f"{item.score:.3f}",
            f"{item.mask.mean():.1%}",
            " ".join(f"{edge:.0f}" for edge in item.box),
        )
        for item in result
    ]
    columns = ("prompt", "predicted IoU", "of the picture", "box")
    _print(result, as_json=as_json, columns=columns, rows=rows)


@grouped
def text(
    image: Picture,
    labels: Labels = None,
    *,
    labels_file: LabelsFile = None,
    text_cache: TextCache = True,
    asked: TextOptions,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Find each label in the picture, and its mask if it is there."""
    with working("segmenting") as display:
        names = read_labels(labels, labels_file)
        _check(image, output)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            result = samclip.segment_text(
                image,
                names,
                threshold=asked.threshold,
                mask_threshold=asked.mask_threshold,
                points_per_class=asked.points_per_class,
                refine=asked.refine,
                seed=asked.seed,
            )
        _save(result, output)
    rows = [
        (label, f"{presence:.3f}", f"{mask.mean():.1%}" if label in result.present else "absent")
        for label, presence, mask in zip(result.labels, result.presence, result.masks, strict=True)
    ]
    _print(result, as_json=as_json, columns=("label", "presence", "of the picture"), rows=rows)


@grouped
def embed(
    image: OtherPicture = None,
    *,
    text: Annotated[
        list[str] | None, typer.Option(help="a text instead of a picture; repeatable")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the embeddings, float32 [N,E], as .npy"),
    ] = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Embed a picture, or texts, in the space that both share; unit length."""
    with working("embedding") as display:
        if (image is None) == (not text):
            raise WrongUsageError("give a picture or --text, one of the two")
        if output is not None:
            check_output(output, endings=(".npy",))
        if image is not None:
            check_picture(image)
        with opened.load(run, display=display) as samclip:
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


def _check(image: Path, outputs: Sequence[Path] | None) -> None:
    """Refuses files that could not be read or written, before a model is opened for them."""
    for output in outputs or ():
        check_output(output, endings=(".png", ".json", ".npz"))
    check_picture(image)


def _save(result: Result[object], outputs: Sequence[Path] | None) -> None:
    for path in outputs or ():
        result.save(path)


def _print(
    result: Result[object],
    *,
    as_json: bool,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    if as_json:
        print_line(result.to_json())
    else:
        print_table(columns, rows)
        print_line(", ".join(f"{step} {ms:.0f} ms" for step, ms in result.speed.items()))


def _point_label(point: Sequence[float]) -> int:
    """The label of a point X,Y or X,Y,LABEL."""
    label = point[2] if len(point) == 3 else 1.0
    if not label.is_integer():
        raise WrongUsageError(f"the label {label:g} of a --point is not an integer")
    return int(label)


def _numbers(text: str, *, option: str, counts: Sequence[int]) -> list[float]:
    """Reads "12,34" as numbers, or fails as wrong usage."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise WrongUsageError(f"{option} {text!r} is not {wanted} numbers with commas between")
    return numbers
