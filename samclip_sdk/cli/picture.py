"""The commands about one picture: `samclip classify | segment | text | everything | embed`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from samclip_sdk.cli.options import (
    AsJson,
    GridOptions,
    Labels,
    LabelsFile,
    MaskThreshold,
    MaxInstances,
    ModelOptions,
    OtherPicture,
    Picture,
    RunOptions,
    TextCache,
    TextOptions,
    TileOptions,
    Vocabulary,
    check_instances,
    check_output,
    check_picture,
    grouped,
    known_labels,
    read_labels,
    read_numbers,
)
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_line, print_table, working
from samclip_sdk.client import SamClip
from samclip_sdk.engine.options import MAX_INSTANCES
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.result_base import SUFFIXES, Result
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.system.atomic_file import atomic_file

Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="write an overlay (.png, .jpg), the result with COCO masks (.json) or arrays (.npz); "
        "repeatable",
    ),
]


@grouped
def classify(
    image: Picture,
    labels: Labels = None,
    *,
    labels_file: LabelsFile = None,
    vocabulary: Vocabulary = None,
    text_cache: TextCache = True,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Tell which of the labels describes the picture best."""
    with working("classifying") as display:
        names = read_labels(labels, labels_file, vocabulary=vocabulary)
        _check(image, output)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            result = samclip.classify(image, known_labels(samclip, names, vocabulary))
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
        points = [read_numbers(text, option="--point", counts=(2, 3)) for text in point or ()]
        point_labels = [_point_label(each) for each in points]
        boxes = [read_numbers(text, option="--box", counts=(4,)) for text in box or ()]
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
    vocabulary: Vocabulary = None,
    text_cache: TextCache = True,
    asked: TextOptions,
    cut: TileOptions,
    instances: Annotated[bool, typer.Option("--instances", help="a mask for each object")] = False,
    max_instances: MaxInstances = None,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Find each label in the picture, and its mask if it is there; or its objects."""
    with working("segmenting") as display:
        names = read_labels(labels, labels_file, vocabulary=vocabulary)
        check_instances(instances, max_instances=max_instances, asked=asked)
        cut.read()
        _check(image, output)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            asked_for = known_labels(samclip, names, vocabulary)
            result = (
                _find_objects(
                    samclip, image, asked_for, asked=asked, cut=cut, max_instances=max_instances
                )
                if instances
                else _find_labels(samclip, image, asked_for, asked=asked, cut=cut)
            )
        _save(result, output)
    if isinstance(result, Instances):
        _print_objects(result, as_json=as_json)
    else:
        _print_labels(result, as_json=as_json)


@grouped
def everything(
    image: Picture,
    *,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="what a mask may be called, such as dog; repeatable"),
    ] = None,
    labels_file: LabelsFile = None,
    vocabulary: Vocabulary = None,
    text_cache: TextCache = True,
    asked: GridOptions,
    cut: TileOptions,
    output: Outputs = None,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Segment everything that can be told apart, and name it: by the bundle's nouns, or yours."""
    with working("segmenting") as display:
        some = labels or labels_file
        names = read_labels(labels, labels_file) if some else []
        tiles = cut.read()
        _check(image, output)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            result = samclip.segment_everything(
                image,
                known_labels(samclip, names, vocabulary) or None,
                points_per_side=asked.points_per_side,
                pred_iou_thresh=asked.pred_iou_thresh,
                stability_score_thresh=asked.stability_score_thresh,
                stability_score_offset=asked.stability_score_offset,
                box_nms_thresh=asked.box_nms_thresh,
                tiles=tiles,
                tile_overlap=cut.tile_overlap,
            )
        _save(result, output)
    _print_objects(result, as_json=as_json)


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


def _find_objects(
    samclip: SamClip,
    image: Path,
    labels: Sequence[str],
    *,
    asked: TextOptions,
    cut: TileOptions,
    max_instances: int | None,
) -> Instances:
    return samclip.segment_instances(
        image,
        labels,
        threshold=asked.threshold,
        mask_threshold=asked.mask_threshold,
        points_per_class=asked.points_per_class,
        max_instances=MAX_INSTANCES if max_instances is None else max_instances,
        tiles=cut.read(),
        tile_overlap=cut.tile_overlap,
    )


def _find_labels(
    samclip: SamClip,
    image: Path,
    labels: Sequence[str],
    *,
    asked: TextOptions,
    cut: TileOptions,
) -> TextMasks:
    return samclip.segment_text(
        image,
        labels,
        threshold=asked.threshold,
        mask_threshold=asked.mask_threshold,
        points_per_class=asked.points_per_class,
        refine=asked.refine,
        tiles=cut.read(),
        tile_overlap=cut.tile_overlap,
    )


def _check(image: Path, outputs: Sequence[Path] | None) -> None:
    """Refuses files that could not be read or written, before a model is opened for them."""
    for output in outputs or ():
        check_output(output, endings=SUFFIXES)
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
        print_json(result.to_json())
    else:
        print_table(columns, rows)
        print_line(", ".join(f"{step} {ms:.0f} ms" for step, ms in result.speed.items()))


def _print_labels(result: TextMasks, *, as_json: bool) -> None:
    height, width = result.size
    shares = dict(zip(result.labels, result.masks.areas / (height * width), strict=True))
    rows = [
        (label, f"{presence:.3f}", f"{shares[label]:.1%}" if label in result else "absent")
        for label, presence in zip(result.asked.labels, result.asked.presence, strict=True)
    ]
    _print(result, as_json=as_json, columns=("label", "presence", "of the picture"), rows=rows)


def _print_objects(result: Instances, *, as_json: bool) -> None:
    rows = [
        (
            item.label or "-",
            f"{item.score:.3f}",
            f"{item.label_score:.3f}" if item.label else "-",
            f"{item.predicted_iou:.3f}",
            f"{item.stability_score:.3f}",
            f"{item.mask.mean():.1%}",
            " ".join(f"{edge:.0f}" for edge in item.box),
        )
        for item in result
    ]
    columns = (
        *("label", "score", "label fits", "predicted IoU", "stability"),
        *("of the picture", "box"),
    )
    _print(result, as_json=as_json, columns=columns, rows=rows)


def _point_label(point: Sequence[float]) -> int:
    """The label of a point X,Y or X,Y,LABEL."""
    label = point[2] if len(point) == 3 else 1.0
    if not label.is_integer():
        raise WrongUsageError(f"the label {label:g} of a --point is not an integer")
    return int(label)
