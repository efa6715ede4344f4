"""The annotations of many images in other formats than COCO: YOLO's folder, or a table."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.annotate.image_files import ImageFile
from samclip_sdk.errors import StorageError, one_line, printable
from samclip_sdk.image.masks import mask_to_polygons, rle_to_mask
from samclip_sdk.results.formats import CSV_COLUMNS, csv_row, yolo_lines

OutputFormat: TypeAlias = Literal["coco", "yolo", "csv"]
"""COCO JSON; a folder with a file of lines for each image, and data.yaml; or one table."""

ImagesForm: TypeAlias = Literal["link", "copy"]
"""How YOLO's folder gets the images."""

Entry = Mapping[str, Any]
"""An image that is done: file_name, width, height, and annotations; see `AnnotationLog`."""

_LABELS, _IMAGES = "labels", "images"


def check_yolo_names(names: Iterable[str]) -> None:
    """Refuses images that YOLO would tell by one name, since it leaves endings out.

    Raises:
        StorageError: two images differ in their endings alone, or a name leads elsewhere.
    """
    seen: dict[PurePosixPath, str] = {}
    for name in names:
        own = PurePosixPath(name)
        if own.is_absolute() or ".." in own.parts:
            raise StorageError(f"{one_line(name)} leads out of YOLO's folder: write COCO or CSV")
        first = seen.setdefault(own.with_suffix(""), name)
        if first != name:
            raise StorageError(
                f"{one_line(first)} and {one_line(name)} would have one file of YOLO: rename one, "
                "or write COCO or CSV"
            )


def write_yolo(folder: Path, entries: Iterable[Entry], *, labels: Sequence[str]) -> int:
    """Writes `labels/NAME.txt` for each image, and data.yaml with the names of the classes.

    Images belong into `images`, beside `labels`: see `lay_images`. An image without objects has
    an empty file.

    Returns:
        The number of annotations.
    """
    count = 0
    for entry in entries:
        path = folder / _LABELS / PurePosixPath(entry["file_name"]).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        annotations = entry["annotations"]
        lines = yolo_lines(
            map(_outlines, annotations),
            size=(entry["height"], entry["width"]),
            classes=[each["category_id"] - 1 for each in annotations],
        )
        path.write_text(lines, encoding="utf-8")
        count += len(annotations)
    # YAML's texts are JSON's, but a pair of surrogates is two letters there, and what cannot be
    # printed must be escaped.
    shown = [printable(json.dumps(name, ensure_ascii=False)) for name in labels]
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(shown))
    # Without `path`, trainers take the file's own folder.
    (folder / "data.yaml").write_text(
        f"train: {_IMAGES}\nval: {_IMAGES}\nnames:\n{names}", encoding="utf-8"
    )
    return count


def check_images(images: Iterable[object], *, form: OutputFormat) -> None:
    """Refuses to lay images beside labels where that is not possible.

    Raises:
        StorageError: the output is no folder of YOLO, or an image is no file of this machine.
    """
    if form != "yolo":
        raise StorageError(f"only yolo has images beside its labels, not {form}")
    for each in images:
        if not isinstance(each, ImageFile):
            raise StorageError(
                "the images of a URL or a Parquet file cannot be linked or copied beside YOLO's "
                "labels: download them as files first"
            )


def lay_images(folder: Path, sources: Iterable[ImageFile], *, images: ImagesForm) -> None:
    """Lays images into `images`, by the same names as their labels, as links or copies.

    Each image has a link of its own: trainers look for the labels beside the folder that a link
    of the whole folder leads to.

    Raises:
        OSError: a file cannot be written, or this drive has no links.
    """
    for source in sources:
        target = folder / _IMAGES / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if images == "link":
            target.symlink_to(source.path.absolute())
        else:
            shutil.copyfile(source.path, target)


def write_csv(file: BinaryIO, entries: Iterable[Entry], *, labels: Sequence[str]) -> int:
    """Writes a row for each annotation, with the columns of a result's `to_csv`.

    Returns:
        The number of annotations.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    count = 0
    for entry in entries:
        for each in entry["annotations"]:
            named = {"label": labels[each["category_id"] - 1], **each}
            table.writerow(csv_row(named, file_name=entry["file_name"]))
            count += 1
    text.detach()
    return count


def _outlines(annotation: Mapping[str, Any]) -> list[NDArray[np.int32]]:
    """The polygons [n,2] of an annotation, whose mask is RLE or polygons."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, Mapping):
        return mask_to_polygons(rle_to_mask(dict(segmentation)))
    return [np.array(each, np.float64).reshape(-1, 2).astype(np.int32) for each in segmentation]
