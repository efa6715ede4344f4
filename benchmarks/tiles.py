"""Whether tiles find more in large pictures: `python -m benchmarks tiles PHOTOGRAPHS`.

Sets of photographs hold small pictures. So that there are large ones whose truth is known, `side` x
`side` photographs are put side by side, each at the size of a model's input: what fills a
photograph is small in the picture. Labels are asked as in `benchmarks quality`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer

from benchmarks.command import ModelName, Output, Runtime, Seed, measurement
from benchmarks.quality.scores import iou
from benchmarks.record import Model, Record, Run, describe_model
from benchmarks.report import table, track
from samclip_sdk import SamClip
from samclip_sdk.client import DEFAULT_MODEL
from samclip_sdk.timing import elapsed_ms

if TYPE_CHECKING:
    from training.real.photographs import Photographs

ABSENT = 20
FOUND_IOU = 0.5
PAPER = (124, 116, 104)

Named = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class LargePicture:
    """Photographs side by side: uint8 [H,W,3]; masks bool [H,W] of labels and of objects."""

    image: np.ndarray
    labels: dict[str, np.ndarray]
    objects: Named
    absent: tuple[str, ...]


class Tiled(Record):
    """What one way to tile found; `tiles` is null for the whole picture alone.

    Of `present` labels `found` got a mask, of `absent` ones `false`; `miou` is over the present
    ones. Of `objects` as many were found as `hits` tells: an IoU of 0.5 with a row of their label,
    of which there were `rows`, absent labels' too.
    """

    tiles: tuple[int, int] | None
    present: int
    found: int
    miou: float
    absent: int
    false: int
    objects: int
    hits: int
    rows: int
    text_ms: float
    instances_ms: float


class TileQuality(Run):
    """Of one model; `pictures` of `side` x `side` photographs each."""

    model: Model
    pictures: int
    side: int
    seed: int
    tilings: tuple[Tiled, ...]


def compose(
    cells: Sequence[tuple[np.ndarray, Named]], *, absent: Sequence[str], cell_px: int
) -> LargePicture:
    """Puts photographs and the masks of their objects into a square, row by row."""
    side = int(len(cells) ** 0.5)
    image = np.full((side * cell_px, side * cell_px, 3), PAPER, np.uint8)
    labels: dict[str, np.ndarray] = {}
    objects: Named = []
    for place, (pixels, named) in enumerate(cells):
        scale = cell_px / max(pixels.shape[:2])
        width, height = (max(1, round(each * scale)) for each in pixels.shape[1::-1])
        top, left = place // side * cell_px, place % side * cell_px
        part = np.s_[top : top + height, left : left + width]
        image[part] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        for name, mask in named:
            canvas = np.zeros(image.shape[:2], bool)
            canvas[part] = cv2.resize(mask.astype(np.float32), (width, height)) > 0.5
            objects.append((name, canvas))
            labels[name] = labels[name] | canvas if name in labels else canvas
    return LargePicture(image, labels, objects, tuple(absent))


def large_pictures(
    photographs: Photographs, *, side: int, seed: int, cell_px: int
) -> Iterator[LargePicture]:
    """All that complete sets of a split give, each of one set; what is left over is not asked."""
    from training.real.photograph_questions import AskedPhotographs, read_photograph

    order = AskedPhotographs(photographs, seed=seed).pictures
    owners = photographs.owners[order]
    rows = [row for each in np.unique(owners) for row in _rows(order[owners == each], side**2)]
    for own in rows:
        cells = [
            (read_photograph(photographs, each), named_objects(photographs, each)) for each in own
        ]
        there = {name for _, named in cells for name, _ in named}
        gone = set.intersection(*(set(photographs.absent(each)) for each in own))
        names = [photographs.names[each] for each in sorted(gone)]
        rng = np.random.default_rng([seed, *own])
        absent = [each for each in rng.permutation(names).tolist() if each not in there]
        yield compose(cells, absent=absent[:ABSENT], cell_px=cell_px)


def _rows(order: np.ndarray, length: int) -> list[list[int]]:
    """Cuts numbers into rows of one length, without what is left over."""
    return order[: len(order) // length * length].reshape(-1, length).tolist()


def named_objects(photographs: Photographs, picture: int) -> Named:
    """The named objects of a photograph that are half a percent of it or more."""
    from training.real.photograph_questions import LEAST_SHARE, named_masks

    return [
        (photographs.names[concept], mask)
        for concept, mask in named_masks(photographs, picture)
        if mask is not None and mask.sum() >= LEAST_SHARE * mask.size
    ]


@dataclass
class _Tally:
    tiles: tuple[int, int] | None
    ious: list[float] = field(default_factory=list)
    found: int = 0
    false: int = 0
    absent: int = 0
    hits: list[bool] = field(default_factory=list)
    rows: int = 0
    text_ms: list[float] = field(default_factory=list)
    instances_ms: list[float] = field(default_factory=list)

    def add(self, model: SamClip, large: LargePicture) -> None:
        """Asks a picture for its labels and for absent ones, as masks and as objects."""
        names = [*large.labels, *large.absent]
        model.segment_text(large.image, names)  # embeds the labels, which is not timed
        texts, objects = [], []

        def ask_labels() -> None:
            texts.append(model.segment_text(large.image, names, tiles=self.tiles))

        def ask_objects() -> None:
            objects.append(
                model.segment_text(
                    large.image, names, instances=True, max_instances=1000, tiles=self.tiles
                )
            )

        self.text_ms.append(elapsed_ms(ask_labels))
        self.instances_ms.append(elapsed_ms(ask_objects))
        answer, rows = texts[0], objects[0]
        masks = [answer.mask(name) for name in large.labels]
        self.ious += [iou(a, b) for a, b in zip(masks, large.labels.values(), strict=True)]
        self.found += sum(name in answer for name in large.labels)
        self.false += sum(name in answer for name in large.absent)
        self.absent += len(large.absent)
        self.rows += len(rows)
        for name, truth in large.objects:
            own = (
                mask for label, mask in zip(rows.labels, rows.masks, strict=True) if label == name
            )
            self.hits.append(any(iou(mask, truth) >= FOUND_IOU for mask in own))

    def record(self) -> Tiled:
        return Tiled(
            tiles=self.tiles,
            present=len(self.ious),
            found=self.found,
            miou=float(np.mean(self.ious)),
            absent=self.absent,
            false=self.false,
            objects=len(self.hits),
            hits=sum(self.hits),
            rows=self.rows,
            text_ms=float(np.median(self.text_ms)),
            instances_ms=float(np.median(self.instances_ms)),
        )


def render(record: TileQuality) -> str:
    """One row a way to tile."""
    rows = [
        (
            "whole" if each.tiles is None else "{} x {}".format(*each.tiles),
            f"{each.found / each.present:.1%} of {each.present}",
            f"{each.miou:.3f}",
            f"{each.false / each.absent:.1%} of {each.absent}" if each.absent else "-",
            f"{each.hits / each.objects:.1%} of {each.objects}",
            str(each.rows),
            f"{each.text_ms:.0f}",
            f"{each.instances_ms:.0f}",
        )
        for each in record.tilings
    ]
    columns = (
        *("tiles", "labels found", "mIoU of present", "false labels"),
        *("objects found", "rows", "ms a picture", "ms with instances"),
    )
    return table(columns, rows)


def read_tiling(text: str) -> tuple[int, int]:
    """Reads "2x3" as rows and columns."""
    parts = text.split("x")
    if len(parts) != 2 or not all(each.isdecimal() for each in parts):
        raise ValueError(f"--tiling is {text!r}; it must be rows and columns, such as 2x3")
    return int(parts[0]), int(parts[1])


def tiles(
    photographs: Annotated[Path, typer.Argument(help="sets in COCO's layout; their split val")],
    tiling: Annotated[
        list[str] | None, typer.Option(help="such as 2x3; repeatable, by default 2x2 and 3x3")
    ] = None,
    side: Annotated[int, typer.Option(help="photographs beside each other", min=2)] = 3,
    limit: Annotated[int | None, typer.Option(help="large pictures at most", min=1)] = None,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Measures what tiles find in large pictures, and what they cost.

    The pictures are made of photographs of complete sets, `side` x `side` in each.
    """
    with measurement("tiles", output=output) as measured:
        asked = [read_tiling(each) for each in tiling or ("2x2", "3x3")]
        # Only here: photographs are read with torch.
        from training.data_config import Photographs as SetSettings
        from training.real.photographs import Photographs

        sets = Photographs(SetSettings(source="photographs", root=photographs), split="val")
        samclip = SamClip.load(runtime, model=model)
        cell_px = samclip.manifest.tasks.segmentation.resolution
        pictures = list(large_pictures(sets, side=side, seed=seed, cell_px=cell_px))[:limit]
        tallies = [_Tally(None), *map(_Tally, asked)]
        for large in track(pictures, "large pictures"):
            for tally in tallies:
                tally.add(samclip, large)
        record = TileQuality(
            **measured.run(),
            model=describe_model(samclip.manifest, samclip.source),
            pictures=len(pictures),
            side=side,
            seed=seed,
            tilings=tuple(each.record() for each in tallies),
        )
        measured.finish(record, render(record))
