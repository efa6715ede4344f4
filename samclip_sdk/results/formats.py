"""Rows of masks in the formats of other tools: COCO, YOLO and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Annotation = Mapping[str, Any]
"""A mask's fields: `bbox` (XYWH), `area` and `segmentation` as COCO has them, and some of its own,
such as `label` and `score`."""

CSV_COLUMNS = ("image", "label", "score", "x0", "y0", "x1", "y1", "area", "rle_counts")


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
            {"id": index, "image_id": 1, "category_id": own + 1, "iscrowd": 0, **each}
            for index, (each, own) in rows
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
    table.writerow(CSV_COLUMNS)
    table.writerows(csv_row(each, file_name=file_name) for each in annotations)
    return file.getvalue()


def csv_row(annotation: Annotation, *, file_name: str) -> list[str]:
    """The cells of a mask, by `CSV_COLUMNS`; without RLE, the last one is JSON of the polygons."""
    x0, y0, width, height = annotation["bbox"]
    edges = (f"{edge:g}" for edge in (x0, y0, x0 + width, y0 + height))
    mask = annotation["segmentation"]
    cell = mask["counts"] if isinstance(mask, Mapping) else json.dumps(mask)
    label, score = annotation.get("label", ""), f"{annotation['score']:.4f}"
    return [file_name, label, score, *edges, str(annotation["area"]), cell]


def _joined(parts: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """One ring around all parts: each is entered and left at the first one's first corner."""
    first, *others = parts
    walks = [np.concatenate([first[:1], other, other[:1]]) for other in others]
    return np.concatenate([first, *walks])
