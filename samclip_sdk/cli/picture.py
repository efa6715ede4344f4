"""The commands for one picture: `samclip classify | segment | text | instances | ...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from samclip_sdk.cli.checks import check_output, check_picture, read_numbers
from samclip_sdk.cli.options import (
    AsJson,
    GridOptions,
    ImagePath,
    InstanceOptions,
    LabelOptions,
    Labels,
    MaskThreshold,
    ModelOptions,
    OtherPicture,
    ResultOptions,
    RunOptions,
    TextOptions,
    TileOptions,
    grouped,
)
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_table, working
from samclip_sdk.results.instances import Instances
from samclip_sdk.system.atomic_file import atomic_file


@grouped
def classify(
    image: ImagePath,
    labels: Labels = None,
    *,
    given: LabelOptions,
    answer: ResultOptions,
    opened: ModelOptions,
    run: RunOptions,
) -> None:
    """Tell which of the labels describes the picture best."""
    with working("classifying") as display:
        names = given.read(labels)
        answer.check(image)
        with opened.load(run, display=display, text_cache=given.text_cache) as samclip:
            result = samclip.classify(image, given.known(samclip, names))
        answer.save(result)
    ranked = sorted(result, key=lambda each: -each.prob)
    rows = [(each.label, f"{each.prob:.3f}", f"{each.presence:.3f}") for each in ranked]
    answer.show(result, columns=("label", "probability", "presence"), rows=rows)


@grouped
def segment(
    image: ImagePath,
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
    answer: ResultOptions,
    opened: ModelOptions,
    run: RunOptions,
) -> None:
    """Segment by points and boxes, in pixels of the picture."""
    with working("segmenting") as display:
        points = [read_numbers(text, option="--point", counts=(2, 3)) for text in point or ()]
        point_labels = [_point_label(each) for each in points]
        boxes = [read_numbers(text, option="--box", counts=(4,)) for text in box or ()]
        if not points and not boxes:
            raise WrongUsageError("give --point or --box")
        answer.check(image)
        with opened.load(run, display=display) as samclip:
            result = samclip.segment(
                image,
                points=[[each[:2] for each in points]] if points else None,
                point_labels=[point_labels] if points else None,
                boxes=boxes or None,
                multimask_output=multimask,
                mask_threshold=mask_threshold,
            )
        answer.save(result)
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
    answer.show(result, columns=columns, rows=rows)


@grouped
def text(
    image: ImagePath,
    labels: Labels = None,
    *,
    given: LabelOptions,
    asked: TextOptions,
    cut: TileOptions,
    answer: ResultOptions,
    opened: ModelOptions,
    run: RunOptions,
) -> None:
    """Find labels in the picture: a mask for each one that is present."""
    with working("segmenting") as display:
        names = given.read(labels)
        tiles = cut.read()
        answer.check(image)
        with opened.load(run, display=display, text_cache=given.text_cache) as samclip:
            result = samclip.segment_text(
                image,
                given.known(samclip, names),
                threshold=asked.threshold,
                mask_threshold=asked.mask_threshold,
                points_per_class=asked.points_per_class,
                refine=asked.refine,
                tiles=tiles,
                tile_overlap=cut.tile_overlap,
            )
        answer.save(result)
    height, width = result.size
    shares = dict(zip(result.labels, result.masks.areas / (height * width), strict=True))
    rows = [
        (label, f"{presence:.3f}", f"{shares[label]:.1%}" if label in result else "absent")
        for label, presence in zip(result.asked.labels, result.asked.presence, strict=True)
    ]
    answer.show(result, columns=("label", "presence", "of the picture"), rows=rows)


@grouped
def instances(
    image: ImagePath,
    labels: Labels = None,
    *,
    given: LabelOptions,
    asked: InstanceOptions,
    cut: TileOptions,
    answer: ResultOptions,
    opened: ModelOptions,
    run: RunOptions,
) -> None:
    """Find the objects of labels in the picture: a mask for each one."""
    with working("segmenting") as display:
        names = given.read(labels)
        tiles = cut.read()
        answer.check(image)
        with opened.load(run, display=display, text_cache=given.text_cache) as samclip:
            result = samclip.segment_instances(
                image,
                given.known(samclip, names),
                threshold=asked.threshold,
                mask_threshold=asked.mask_threshold,
                points_per_class=asked.points_per_class,
                max_instances=asked.max_instances,
                tiles=tiles,
                tile_overlap=cut.tile_overlap,
            )
        answer.save(result)
    _print_objects(result, answer=answer)


@grouped
def everything(
    image: ImagePath,
    *,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="a name for masks, such as dog; repeatable"),
    ] = None,
    given: LabelOptions,
    asked: GridOptions,
    cut: TileOptions,
    answer: ResultOptions,
    opened: ModelOptions,
    run: RunOptions,
) -> None:
    """Segment everything in the picture, and name it: with the bundle's nouns, or yours."""
    with working("segmenting") as display:
        names = given.read(labels) if labels or given.labels_file else []
        tiles = cut.read()
        answer.check(image)
        with opened.load(run, display=display, text_cache=given.text_cache) as samclip:
            result = samclip.segment_everything(
                image,
                given.known(samclip, names) or None,
                points_per_side=asked.points_per_side,
                pred_iou_thresh=asked.pred_iou_thresh,
                stability_score_thresh=asked.stability_score_thresh,
                stability_score_offset=asked.stability_score_offset,
                box_nms_thresh=asked.box_nms_thresh,
                tiles=tiles,
                tile_overlap=cut.tile_overlap,
            )
        answer.save(result)
    _print_objects(result, answer=answer)


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
    """Embed a picture or texts in the space that both share, at unit length."""
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


def _print_objects(result: Instances, *, answer: ResultOptions) -> None:
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
    answer.show(result, columns=columns, rows=rows)


def _point_label(point: Sequence[float]) -> int:
    """The label of a point X,Y or X,Y,LABEL."""
    label = point[2] if len(point) == 3 else 1.0
    if not label.is_integer():
        raise WrongUsageError(f"the label {label:g} of a --point is not an integer")
    return int(label)
