"""Whether tiles find more in large images: `python -m benchmarks tiles PHOTOGRAPHS`.

Sets of photographs hold small images. So that there are large ones whose truth is known, `side` x
`side` photographs are put side by side, each at the size of a model's input: what fills a
photograph is small in the image. Labels are asked as in `benchmarks quality`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import typer

from benchmarks.intervals import over_rounds
from benchmarks.metrics.masks import iou
from benchmarks.quality.photographs import open_split
from benchmarks.suite import Measuring, ModelName, Runtime, timed
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.cli.options import TileOptions
from training.real import photograph_questions as questions
from training.real.photographs import Photographs

SEED, ABSENT = 0, 20
FOUND_IOU = 0.5
PAPER = (124, 116, 104)

Named = list[tuple[str, np.ndarray]]
Tiles = tuple[int, int] | int | None
"""As for `SamClip.segment_text`; None is the whole image alone."""


class LargeImage(NamedTuple):
    """Photographs side by side: uint8 [H,W,3]; masks bool [H,W] of labels and of objects."""

    image: np.ndarray
    labels: dict[str, np.ndarray]
    objects: Named
    absent: Sequence[str]


def compose(
    cells: Sequence[tuple[np.ndarray, Named]], *, absent: Sequence[str], cell_px: int
) -> LargeImage:
    """Puts photographs and the masks of their objects into a square, row by row."""
    side = int(len(cells) ** 0.5)
    image = np.full((side * cell_px, side * cell_px, 3), PAPER, np.uint8)
    labels: dict[str, np.ndarray] = {}
    objects: Named = []
    for index, (pixels, named) in enumerate(cells):
        scale = cell_px / max(pixels.shape[:2])
        width, height = (max(1, round(each * scale)) for each in pixels.shape[1::-1])
        top, left = index // side * cell_px, index % side * cell_px
        part = np.s_[top : top + height, left : left + width]
        image[part] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        for name, mask in named:
            canvas = np.zeros(image.shape[:2], bool)
            canvas[part] = cv2.resize(mask.astype(np.float32), (width, height)) > 0.5
            objects.append((name, canvas))
            labels[name] = labels.get(name, False) | canvas
    return LargeImage(image, labels, objects, absent)


def large_images(photographs: Photographs, *, side: int, cell_px: int) -> Iterator[LargeImage]:
    """All that complete sets of a split give, each of one set; what is left over is not asked.

    Named objects count that are half a percent of their photograph or more.
    """
    order, names = questions.AskedPhotographs(photographs, seed=SEED).images, photographs.names

    def cell(image: int) -> tuple[np.ndarray, Named]:
        named = [
            (names[concept], mask)
            for concept, mask in questions.named_masks(photographs, image)
            if mask is not None and mask.mean() >= questions.MIN_SHARE
        ]
        return questions.read_photograph(photographs, image), named

    owners = photographs.owners[order]
    for owner in np.unique(owners):
        every = order[owners == owner]
        for own in every[: len(every) // side**2 * side**2].reshape(-1, side**2).tolist():
            gone = set.intersection(*(set(photographs.absent(each)) for each in own))
            rng = np.random.default_rng([SEED, *own])
            absent = rng.permutation([names[each] for each in sorted(gone)]).tolist()
            yield compose([cell(each) for each in own], absent=absent[:ABSENT], cell_px=cell_px)


def ask(model: SamClip, large: LargeImage, tiles: Tiles) -> dict[str, Any]:
    """Asks an image for its labels and for absent ones, as masks and as objects.

    Returns:
        What was found of the present labels, false of the absent ones, and found of the objects, in
        lists; the IoUs of the present ones; `rows` of objects of any label; and milliseconds.
    """
    names = [*large.labels, *large.absent]
    model.segment_text(large.image, names)  # embeds the labels, which is not timed
    answer: Any
    rows: Any
    answer, text_ms = timed(lambda: model.segment_text(large.image, names, tiles=tiles))
    rows, instances_ms = timed(
        lambda: model.segment_instances(large.image, names, max_instances=1000, tiles=tiles)
    )
    found = list(zip(rows.labels, rows.masks, strict=True))
    return {
        "found": [name in answer for name in large.labels],
        "miou": [iou(answer.mask(name), truth) for name, truth in large.labels.items()],
        "false": [name in answer for name in large.absent],
        "objects_found": [
            any(label == name and iou(mask, truth) >= FOUND_IOU for label, mask in found)
            for name, truth in large.objects
        ],
        "rows": len(rows),
        "text_ms": text_ms,
        "instances_ms": instances_ms,
    }


def summarize(measured: Measuring, tiles: Tiles, asked: Sequence[dict[str, Any]]) -> None:
    """Gives means over all images together, and the medians of the times."""
    way = "whole" if tiles is None else str(tiles).strip("()")
    for name in ("found", "miou", "false", "objects_found"):
        if worth := [float(each) for own in asked for each in own[name]]:
            measured.add(way, n=len(worth), **{name: float(np.mean(worth))})
    times = {
        name: over_rounds([each[name] for each in asked]) for name in ("text_ms", "instances_ms")
    }
    measured.add(way, n=len(asked), rows=sum(each["rows"] for each in asked), **times)


def tiles(
    measured: Measuring,
    photographs: Annotated[Path, typer.Argument(help="sets in COCO's layout; their split val")],
    tiles: Annotated[
        list[str], typer.Option(help="rows and columns, or a side in pixels; repeatable")
    ] = ["2x2", "3x3"],  # noqa: B006, as typer takes it
    side: Annotated[int, typer.Option(help="photographs beside each other", min=2)] = 3,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
) -> None:
    """Measures what tiles find in large images, and what they cost.

    The images are made of photographs of complete sets, `side` x `side` in each.
    """
    ways = (None, *(TileOptions(tiles=each).read() for each in dict.fromkeys(tiles)))
    sets, samclip = open_split(photographs), measured.of(SamClip.load(runtime, model=model))
    cell_px = samclip.manifest.tasks.segmentation.resolution
    images = list(large_images(sets, side=side, cell_px=cell_px))
    asked = [
        [ask(samclip, large, way) for way in ways]
        for large in measured.track(images, "large images")
    ]
    for way, found in zip(ways, zip(*asked, strict=True), strict=True):
        summarize(measured, way, found)
