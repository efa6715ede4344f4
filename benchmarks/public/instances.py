"""Instance segmentation with a detector's boxes as prompts: COCO and LVIS v1, by SAM's protocol.

SAM's appendix D.4: each box is asked for three masks, and the most confident of them goes back to
the mask decoder together with the box for the final one. The detector's score is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from benchmarks.public.files import (
    DatasetError,
    first_file,
    first_folder,
    read_json,
    read_pixels,
    spread,
    value_of,
)
from benchmarks.public.mask_scores import Score, coco_score, lvis_score
from benchmarks.public.record import Instances

if TYPE_CHECKING:
    from samclip_sdk import SamClip
    from samclip_sdk.image_embedding import ImageEmbedding

_AT_ONCE = 32  # boxes: three full-size masks of each are in memory
_COCO_MOST = 100  # boxes of a category in a picture
_LVIS_MOST = 300  # boxes in a picture


@dataclass(frozen=True)
class Detection:
    """A box of a detector: XYWH in pixels of the picture, as COCO's results have it."""

    category: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class DetectedPictures:
    """Pictures, and what a detector found in each.

    Attributes:
        annotations: The truth: COCO's or LVIS's JSON file.
        pictures: Id, path, and detections, the surest first, of each picture.
        score: What judges the masks.
    """

    annotations: Path
    pictures: tuple[tuple[int, Path, tuple[Detection, ...]], ...]
    score: Score


def read_coco_instances(root: Path, *, boxes: Path, limit: int | None) -> DetectedPictures:
    """Reads `instances_val2017.json`; 100 boxes of a category in a picture count.

    Raises:
        DatasetError: a file or the evaluator is missing, or a file is another one.
    """
    names = ["annotations/instances_val2017.json", "instances_val2017.json"]
    path = first_file(root, names)
    folder = first_folder(root, ["val2017", "images/val2017"])

    def place(entry: object) -> Path:
        return folder / value_of(entry, key="file_name", kind=str, source=path)

    return _read(
        path, place=place, boxes=boxes, surest=_surest_coco, limit=limit, score=coco_score()
    )


def read_lvis(root: Path, *, boxes: Path, limit: int | None) -> DetectedPictures:
    """Reads `lvis_v1_val.json`, of val2017 and train2017; 300 boxes in a picture count.

    Raises:
        DatasetError: a file or the evaluator is missing, or a file is another one.
    """
    path = first_file(root, ["annotations/lvis_v1_val.json", "lvis_v1_val.json"])

    def place(entry: object) -> Path:
        url = value_of(entry, key="coco_url", kind=str, source=path)
        year, name = url.split("/")[-2:] if "/" in url else ("", url)
        return first_folder(root, [year, f"images/{year}"]) / name

    return _read(
        path, place=place, boxes=boxes, surest=_surest_lvis, limit=limit, score=lvis_score()
    )


INSTANCES: dict[str, Callable[..., DetectedPictures]] = {
    "coco-instances": read_coco_instances,
    "lvis": read_lvis,
}
"""Set -> what reads it from (root, boxes=, limit=)."""


def measure_instances(model: SamClip, data: DetectedPictures, *, progress: Progress) -> Instances:
    """Segments every box, and has the masks judged by the set's own evaluator.

    Args:
        model: what is measured.
        data: the set and the boxes.
        progress: shows how far it is.

    Raises:
        DatasetError: a picture cannot be read, or no box is usable.
    """
    results: list[dict[str, Any]] = []
    left_out = 0
    for image_id, path, detections in progress.track(data.pictures, description="pictures"):
        if not detections:
            continue
        pixels = read_pixels(path)
        height, width = pixels.shape[:2]
        usable = [
            (each, box)
            for each in detections
            if (box := clip_box(each.bbox, width_px=width, height_px=height)) is not None
        ]
        left_out += len(detections) - len(usable)
        if usable:
            boxes = np.stack([box for _, box in usable])
            rles = segment_boxes(model, model.encode_image(pixels), boxes=boxes)
            results += [
                {
                    "image_id": image_id,
                    "category_id": each.category,
                    "segmentation": rle,
                    "score": each.score,
                }
                for (each, _), rle in zip(usable, rles, strict=True)
            ]
    if not results:
        raise DatasetError(f"there is no usable box for the pictures of {data.annotations}")
    figures = data.score(data.annotations, results, [each for each, _, _ in data.pictures])
    return Instances(
        pictures=len(data.pictures),
        boxes=len(results),
        left_out=left_out,
        resolution_px=model.manifest.tasks.segmentation.resolution,
        **figures,
    )


def clip_box(
    bbox: tuple[float, float, float, float], *, width_px: int, height_px: int
) -> NDArray[np.float32] | None:
    """XYWH to XYXY, float32 [4], cut at the picture's border; None if nothing is left."""
    x, y, width, height = bbox
    corners = np.array([x, y, x + width, y + height], np.float32)
    x0, y0, x1, y1 = corners.clip(0, (width_px, height_px, width_px, height_px))
    return np.array([x0, y0, x1, y1], np.float32) if x0 < x1 and y0 < y1 else None


def segment_boxes(
    model: SamClip, image: ImageEmbedding, *, boxes: NDArray[np.float32]
) -> Iterator[dict[str, Any]]:
    """The final mask of each box, XYXY [K,4], as COCO's compressed RLE."""
    from pycocotools import mask as coco_mask

    for start in range(0, len(boxes), _AT_ONCE):
        part = boxes[start : start + _AT_ONCE]
        three = model.segment(image, boxes=part, multimask_output=True)
        best = [
            answers[three.scores[answers].argmax()]
            for answers in (np.flatnonzero(three.prompt_index == k) for k in range(len(part)))
        ]
        final = model.segment(
            image, boxes=part, mask_input=three.low_res_masks[best], multimask_output=False
        )
        for mask in final.masks:
            rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            yield {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _read(
    path: Path,
    *,
    place: Callable[[object], Path],
    boxes: Path,
    surest: Callable[[Sequence[Detection]], Sequence[Detection]],
    limit: int | None,
    score: Score,
) -> DetectedPictures:
    content = read_json(path, keys=["images", "annotations", "categories"])
    images = {
        value_of(entry, key="id", kind=int, source=path): entry for entry in content["images"]
    }
    categories = {
        value_of(entry, key="id", kind=int, source=path) for entry in content["categories"]
    }
    detections: dict[int, list[Detection]] = {}
    for image_id, detection in _detections(boxes):
        if image_id not in images or detection.category not in categories:
            raise DatasetError(
                f"{boxes} has a box of image {image_id}, category {detection.category}, which "
                f"{path} does not have"
            )
        detections.setdefault(image_id, []).append(detection)
    pictures = []
    for image_id in spread(sorted(images), limit=limit, source=path):
        found = sorted(detections.get(image_id, []), key=lambda each: -each.score)
        pictures.append((image_id, place(images[image_id]), tuple(surest(found))))
    return DetectedPictures(path, tuple(pictures), score)


def _surest_coco(found: Sequence[Detection]) -> Sequence[Detection]:
    """What COCOeval looks at, of detections with the surest first."""
    kept, seen = [], Counter[int]()
    for each in found:
        seen[each.category] += 1
        if seen[each.category] <= _COCO_MOST:
            kept.append(each)
    return kept


def _surest_lvis(found: Sequence[Detection]) -> Sequence[Detection]:
    """What LVISEval looks at, of detections with the surest first."""
    return found[:_LVIS_MOST]


def _detections(boxes: Path) -> Iterator[tuple[int, Detection]]:
    """The entries of a file of COCO results, with their image's id."""
    if not boxes.is_file():
        raise DatasetError(f"{boxes}: no such file; expected a detector's COCO results")
    content = read_json(boxes)
    if not isinstance(content, list):
        raise DatasetError(f"{boxes} is not a list of COCO results")
    for entry in content:
        image, category = (
            value_of(entry, key=key, kind=int, source=boxes) for key in ("image_id", "category_id")
        )
        score = value_of(entry, key="score", kind=(float, int), source=boxes)
        bbox = value_of(entry, key="bbox", kind=list, source=boxes)
        numbers = [value for value in bbox if isinstance(value, (float, int))]
        if len(bbox) != 4 or len(numbers) != 4 or not all(map(math.isfinite, [*numbers, score])):
            raise DatasetError(f"{boxes} has the bbox {bbox}, expected [x, y, width, height]")
        x, y, width, height = map(float, numbers)
        yield image, Detection(category, (x, y, width, height), float(score))
