"""The commands for images: `samclip classify | segment | text | instances | ...`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from samclip_sdk.cli.checks import check_image, check_output, read_numbers
from samclip_sdk.cli.many_images import (
    Images,
    ImagesAndLabels,
    Question,
    ResultOptions,
    Row,
    answer_images,
)
from samclip_sdk.cli.options import (
    AsJson,
    Asked,
    LabelOptions,
    ModelOptions,
    OtherImage,
    grouped,
    query_option,
)
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_table, working
from samclip_sdk.engine.queries import EverythingQuery, InstanceQuery, PromptQuery, TextQuery
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.result_base import SUFFIXES
from samclip_sdk.results.row_items import ScoredMask
from samclip_sdk.results.scored_masks import ScoredMasks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.text.word_table import Reading

_OBJECT_COLUMNS = (
    *("label", "score", "label fits", "predicted IoU", "stability"),
    *("of the image", "box"),
)

_NO_OBJECT = (
    "no object: those whose score is below the bundle's, or below --min-score, are not told; "
    "samclip text tells how present a label is"
)
_ALTERNATIVES = (
    "the three masks of a prompt are alternatives, not three things: the one with the highest "
    "predicted IoU is the likeliest; --no-multimask draws one alone"
)


@grouped
def classify(
    image_label: ImagesAndLabels,
    *,
    given: LabelOptions,
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Tell which of the labels describes each image best."""

    def rows_of(result: Classification) -> Iterator[Row]:
        for each in sorted(result, key=lambda each: -each.prob):
            label = with_reading(each.label, result.read_as)
            yield label, f"{each.prob:.3f}", f"{each.presence:.3f}"

    question = Question(
        "classifying",
        lambda samclip, images, labels: samclip.classify(images, labels),
        columns=("label", "probability", "presence"),
        rows_of=rows_of,
        endings=SUFFIXES,
    )
    answer_images(image_label, question, given=given, answer=answer, opened=opened)


@grouped
def segment(
    image: Images,
    *,
    point: Annotated[
        list[str] | None,
        typer.Option(help="X,Y (on the object) or X,Y,0 (not on it); all points are one prompt"),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="X0,Y0,X1,Y1; each box is a prompt of its own")
    ] = None,
    multimask: Annotated[bool | None, query_option(PromptQuery, "multimask_output")] = None,
    mask_threshold: Annotated[float | None, query_option(PromptQuery, "mask_threshold")] = None,
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Segment by points and boxes, in pixels of each image."""
    with working("segmenting"):
        points = [read_numbers(text, option="--point", counts=(2, 3)) for text in point or ()]
        point_labels = [_point_label(each) for each in points]
        boxes = [read_numbers(text, option="--box", counts=(4,)) for text in box or ()]
        if not points and not boxes:
            raise WrongUsageError("give --point or --box")

    def rows_of(result: Masks) -> Iterator[Row]:
        for item in result:
            box = " ".join(f"{edge:.0f}" for edge in item.box)
            yield str(item.prompt_index), f"{item.score:.3f}", f"{item.mask.mean():.1%}", box

    question = Question(
        "segmenting",
        lambda samclip, images, _: samclip.segment(
            images,
            points=[[each[:2] for each in points]] if points else None,
            point_labels=[point_labels] if points else None,
            boxes=boxes or None,
            multimask_output=multimask,
            mask_threshold=mask_threshold,
        ),
        columns=("prompt", "predicted IoU", "of the image", "box"),
        rows_of=rows_of,
        note_of=lambda masks: _ALTERNATIVES if len(masks) > len(masks.best()) else "",
    )
    answer_images(image, question, given=None, answer=answer, opened=opened)


@grouped
def text(
    image_label: ImagesAndLabels,
    *,
    given: LabelOptions,
    query: Annotated[Asked, TextQuery],
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Find labels in each image: a mask for each one that is present."""
    with working("segmenting"):
        arguments = query.arguments()

    def rows_of(result: TextMasks) -> Iterator[Row]:
        height, width = result.size
        shares = dict(zip(result.labels, result.masks.areas / (height * width), strict=True))
        for label, presence in zip(result.asked.labels, result.asked.presence, strict=True):
            share = f"{shares[label]:.1%}" if label in result else "absent"
            yield with_reading(label, result.read_as), f"{presence:.3f}", share

    question = Question(
        "segmenting",
        lambda samclip, images, labels: samclip.segment_text(images, labels, **arguments),
        columns=("label", "presence", "of the image"),
        rows_of=rows_of,
    )
    answer_images(image_label, question, given=given, answer=answer, opened=opened)


@grouped
def instances(
    image_label: ImagesAndLabels,
    *,
    given: LabelOptions,
    query: Annotated[Asked, InstanceQuery],
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Find the objects of labels in each image: a mask for each one."""
    with working("segmenting"):
        arguments = query.arguments()
    question = Question(
        "segmenting",
        lambda samclip, images, labels: samclip.segment_instances(images, labels, **arguments),
        columns=_OBJECT_COLUMNS,
        rows_of=_object_rows,
        note_of=lambda found: "" if len(found) else _NO_OBJECT,
    )
    answer_images(image_label, question, given=given, answer=answer, opened=opened)


@grouped
def everything(
    image: Images,
    *,
    given: LabelOptions,
    query: Annotated[Asked, EverythingQuery],
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Segment everything in each image, and name it: with the bundle's nouns, or yours."""
    with working("segmenting"):
        arguments = query.arguments()
        names = given.read(()) if given.label or given.labels_file else []
    question = Question(
        "segmenting",
        lambda samclip, images, _: samclip.segment_everything(
            images, given.known(samclip, names) or None, **arguments
        ),
        columns=_OBJECT_COLUMNS,
        rows_of=_object_rows,
    )
    answer_images(
        image,
        question,
        given=None,
        text_cache=given.text_cache,
        answer=answer,
        opened=opened,
    )


@grouped
def embed(
    image: OtherImage = None,
    *,
    text: Annotated[
        list[str] | None, typer.Option(help="a text instead of an image; repeatable")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the embeddings, float32 [N,E], as .npy"),
    ] = None,
    opened: ModelOptions,
    as_json: AsJson = False,
) -> None:
    """Embed an image or texts in the space that both share, at unit length."""
    with working("embedding") as display:
        if (image is None) == (not text):
            raise WrongUsageError("give an image or --text, one of the two")
        if output is not None:
            check_output(output, endings=(".npy",))
        if image is not None:
            check_image(image)
        with opened.load(display=display) as samclip:
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


def _object_rows(result: ScoredMasks[ScoredMask]) -> Iterator[Row]:
    for item in result:
        yield (
            with_reading(item.label, result.read_as) if item.label else "-",
            f"{item.score:.3f}",
            f"{item.label_score:.3f}" if item.label else "-",
            f"{item.predicted_iou:.3f}",
            f"{item.stability_score:.3f}",
            f"{item.mask.mean():.1%}",
            " ".join(f"{edge:.0f}" for edge in item.box),
        )


def with_reading(label: str, read_as: Mapping[str, Reading]) -> str:
    """A label with what it was taken for, if that is to be told."""
    reading = read_as.get(label)
    if reading is None:
        return label
    words = ", ".join(reading.words)
    if reading.kind == "read_as":
        return f"{label} (read as {words})"
    return f"{label} (not known; nearest: {words} {reading.cosine:.2f})"


def _point_label(point: Sequence[float]) -> int:
    """The label of a point X,Y or X,Y,LABEL."""
    label = point[2] if len(point) == 3 else 1.0
    if not label.is_integer():
        raise WrongUsageError(f"the label {label:g} of a --point is not an integer")
    return int(label)
