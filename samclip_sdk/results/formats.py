"""Rows of masks in the formats of other tools: COCO, YOLO and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Annotation = Mapping[str, Any]
"""A mask's fields: `bbox` (XYWH), `area` and `segmentation` as COCO has them, and some of its own,
such as `label` and `score`."""

_CSV_COLUMNS = ("image", "label", "score", "x0", "y0", "x1", "y1", "area", "rle_counts")


def coco_dataset(
    annotations: Iterable[Annotation],
    *,
    file_name: str,
    size: tuple[int, int],
    classes: Sequence[int],
    names: Mapping[int, str],
) -> dict[str, Any]:
    """A data set of one image, as pycocotools and other readers of COCO's format load it.

    Args:
        annotations: the masks; fields that COCO does not have are kept.
        file_name: the image's.
        size: height and width of the image.
        classes: the class of each mask, from 0; a category's id is one more.
        names: class -> its name.
    """
    height, width = size
    rows = enumerate(zip(annotations, classes, strict=True), 1)
    return {
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "categories": [{"id": each + 1, "name": names[each]} for each in sorted(names)],
        "annotations": [
            {"id": place, "image_id": 1, "category_id": own + 1, "iscrowd": 0, **each}
            for place, (each, own) in rows
        ],
    }


def yolo_lines(
    outlines: Iterable[Sequence[NDArray[np.int32]]],
    *,
    size: tuple[int, int],
    classes: Sequence[int],
) -> str:
    """Lines of ultralytics' format for segmentation: `CLASS X Y X Y ...`, one for each mask.

    Coordinates are shares of the width and the height. A line of one polygon cannot hold two parts,
    so a line there and back joins them, as ultralytics' own converter does.

    Args:
        outlines: for each mask the polygons [n,2] of its parts, in image pixels.
        size: height and width of the image.
        classes: the class of each mask, from 0.
    """
    height, width = size
    lines = []
    for parts, own in zip(outlines, classes, strict=True):
        if parts:
            corners = _joined(parts) / np.array([width, height])
            lines.append(f"{own} {' '.join(f'{each:.6g}' for each in corners.ravel())}\n")
    return "".join(lines)


def csv_table(annotations: Iterable[Annotation], *, file_name: str) -> str:
    """A table with a header and a row for each mask; `rle_counts` are those of COCO's RLE."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_CSV_COLUMNS)
    for each in annotations:
        x0, y0, width, height = each["bbox"]
        edges = (f"{edge:g}" for edge in (x0, y0, x0 + width, y0 + height))
        label, score = each.get("label", ""), f"{each['score']:.4f}"
        table.writerow(
            [file_name, label, score, *edges, each["area"], each["segmentation"]["counts"]]
        )
    return file.getvalue()


def _joined(parts: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """One ring around all parts: each is entered and left at the first one's first corner."""
    first, *others = parts
    walks = [np.concatenate([first[:1], other, other[:1]]) for other in others]
    return np.concatenate([first, *walks])
