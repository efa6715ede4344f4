"""Objects of COCO, LVIS v1, and photographs in their layout: found by names, or from boxes.

A model is asked for all names that its set knows of an image, and gets no boxes. Or it gets a
detector's boxes, by SAM's protocol (appendix D.4): each box is asked for three masks, and the most
confident of them goes back to the mask decoder with the box for the final one; the detector's score
is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from benchmarks.metrics.average_precision import LVIS_MAX, By, Results, average_precision
from benchmarks.public import files
from benchmarks.suite import Measuring, timed
from benchmarks.two_models import Detect, Found
from samclip_sdk import SamClip
from samclip_sdk.image.masks import mask_to_rle
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.result_base import coco_annotation
from training.data_config import Photographs as Settings
from training.real.photograph import Photograph
from training.real.photograph_masks import decode_mask
from training.real.photographs import Photographs
from training.real.records import decode_image

COCO_MAX = 100
"""Objects of a category in an image that COCO's evaluator looks at."""

_AT_ONCE = 32  # boxes: three full-size masks of each are in memory

_XYWH = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Detection = files.shape(image_id=int, category_id=int, bbox=_XYWH, score=FiniteFloat)
"""A box of a detector, in pixels of the image, as COCO's results have it."""


Things = tuple[dict[str, Any], dict[int, str], tuple[tuple[int, Path, tuple[int, ...]], ...]]


@dataclass(frozen=True)
class DetectedImages:
    """Images by id, path, and the ids of the categories that each is asked for.

    `truth` is COCO's or LVIS's annotations, or their file, judged `by` that set's evaluator;
    `names` are the categories' by id. `boxes` are what a detector found in each, if these are to be
    segmented.
    """

    truth: Path | dict[str, Any]
    names: dict[int, str]
    images: tuple[tuple[int, Path, tuple[int, ...]], ...]
    by: By = "coco"
    boxes: dict[int, list[Detection]] | None = None
    read: Callable[[Path], np.ndarray] = files.read_pixels

    @property
    def maximum(self) -> int:
        """How many objects of an image count."""
        return COCO_MAX if self.by == "coco" else LVIS_MAX


def read_coco(root: Path, *, boxes: Path | None = None) -> DetectedImages:
    """Reads `instances_val2017.json`; with --boxes, a detector's boxes are segmented instead."""
    path = files.find(root, "annotations/instances_val2017.json", "instances_val2017.json")
    folder = files.find(root, "val2017", "images/val2017")
    coco = files.shape(images=files.IMAGES, categories=files.CATEGORIES)
    content = files.read_annotations(path, coco)
    paths = {each.id: folder / each.file_name for each in content.images}
    return _read_objects(path, content.categories, paths, boxes=boxes, by="coco")


def read_lvis(root: Path, *, boxes: Path | None = None) -> DetectedImages:
    """Reads `lvis_v1_val.json`, of val2017 and train2017; with --boxes likewise."""
    path = files.find(root, "annotations/lvis_v1_val.json", "lvis_v1_val.json")
    images = list[files.shape(id=int, coco_url=str)]
    content = files.read_annotations(path, files.shape(images=images, categories=files.CATEGORIES))
    paths = {}
    for each in content.images:
        year, name = each.coco_url.split("/")[-2:]
        paths[each.id] = files.find(root, year, f"images/{year}") / name
    return _read_objects(path, content.categories, paths, boxes=boxes, by="lvis")


def read_photographs(root: Path) -> DetectedImages:
    """Reads the split "val" of the sets in COCO's layout below a folder, as training has them.

    Sets count that have a name and a mask for every thing; an image is asked for the names of its
    own set, which names all of them in it.
    """
    if not root.is_dir():
        raise files.DatasetError(f"{root} is not a folder: expected one with sets in COCO's layout")
    photographs = Photographs(Settings(source="photographs", root=root), split="val")
    found = things_of(photographs, range(len(photographs)))
    if not found[0]["annotations"]:
        raise files.DatasetError(f"no set below {root} has a name and a mask for every thing")
    return DetectedImages(*found, read=lambda path: decode_image(path.read_bytes()))


def things_of(photographs: Photographs, images: Iterable[int]) -> Things:
    """Lists the named things in images, of sets that have a name and a mask for every thing.

    Returns:
        COCO's annotations, names of categories by id, and images: id, path, ids of what to ask.
        Masks of a crowd, or of all of a kind, are crowds: finding them counts neither way.
    """
    usable = {
        each.name
        for each in photographs.sets
        if any(category.thing and not category.nameless for category in each.categories)
        and each.table.promptable.any()
        and each.table.has_mask.all()
    }
    coco_images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    listed = []
    for image in images:
        one = photographs[image]
        if one.found.name not in usable:
            continue
        height, width = one.found.sizes[one.row].tolist()
        coco_images.append({"id": image, "height": height, "width": width})
        for entry in _entries(one, height_px=height, width_px=width):
            annotations.append({"id": len(annotations) + 1, "image_id": image, **entry})
        kinds = zip(one.category_names.tolist(), one.found.categories, strict=True)
        things = sorted({name + 1 for name, kind in kinds if name >= 0 and kind.thing})
        listed.append((image, one.found.path(one.row), tuple(things)))
    asked = sorted({each for _, _, things in listed for each in things})
    names = {each: photographs.names[each - 1] for each in asked}
    categories = [{"id": each, "name": name} for each, name in names.items()]
    truth = {"images": coco_images, "annotations": annotations, "categories": categories}
    return truth, names, tuple(listed)


def _entries(one: Photograph, *, height_px: int, width_px: int) -> Iterator[dict[str, Any]]:
    """The annotations of an image's named things."""
    for number, concept in zip(one.numbers, one.concepts(one.numbers).tolist(), strict=True):
        found = one.found.table[int(number)]
        if concept >= 0 and one.found.categories[found.category].thing:
            mask = decode_mask(found.segmentation, height_px=height_px, width_px=width_px)
            yield {
                "category_id": concept + 1,
                **coco_annotation(PackedMask.pack(mask), size=mask.shape),
                "iscrowd": int(not one.found.table.promptable[number]),
            }


DETECTION: dict[str, Callable[..., DetectedImages]] = {
    "coco-instances": read_coco,
    "lvis": read_lvis,
    "photographs": read_photographs,
}
"""Set -> what reads it from its folder."""

INSTANCES = ("coco-instances", "lvis")
"""The sets that are also read with a detector's `boxes`."""


def _read_objects(
    path: Path, categories: Any, paths: dict[int, Path], *, boxes: Path | None, by: By
) -> DetectedImages:
    """Asks every image for all categories, or has what a detector found in it."""
    names = {each.id: each.name.replace("_", " ") for each in categories}  # as they are spoken
    images = tuple((each, paths[each], tuple(sorted(names))) for each in sorted(paths))
    found = None
    if boxes is not None:
        found = {image_id: [] for image_id in paths}
        for each in files.read_annotations(boxes, list[Detection]):
            if each.image_id not in found or each.category_id not in names:
                raise files.DatasetError(
                    f"{boxes} has a box of image {each.image_id}, category {each.category_id}, "
                    f"which {path} does not have"
                )
            found[each.image_id].append(each)
    return DetectedImages(path, names, images, by=by, boxes=found)


def by_one_model(model: SamClip, names: Sequence[str], *, maximum: int, threshold: float) -> Detect:
    """The model by itself; `names` are embedded now, so that no image pays for that."""
    blank = np.zeros((32, 32, 3), np.uint8)
    model.segment_text(blank, names, threshold=1.0, refine=False)

    def detect(pixels: np.ndarray, labels: Sequence[str]) -> list[Found]:
        told = {"threshold": threshold, "max_instances": maximum, "min_score": 0.0}
        found = model.segment_instances(pixels, labels, **told)
        indices, scores = found.label_index.tolist(), found.scores.tolist()
        return list(zip(indices, scores, found.masks, strict=True))

    return detect


def measure_detection(
    measured: Measuring, detect: Detect, data: DetectedImages, *, subject: str
) -> None:
    """Asks every image, and has masks and boxes judged by the set's own evaluator."""
    results: dict[str, Results] = {"segm": [], "bbox": []}
    took = []
    for image_id, path, categories in measured.track(data.images, subject):
        pixels = data.read(path)
        names = [data.names[each] for each in categories]
        found, ms = timed(lambda seen=pixels, labels=names: detect(seen, labels))
        took.append(ms)
        for index, score, mask in found:
            told = {"image_id": image_id, "category_id": categories[index], "score": score}
            drawn = coco_annotation(PackedMask.pack(mask), size=mask.shape)
            results["segm"].append(told | {"segmentation": drawn["segmentation"]})
            results["bbox"].append(told | {"bbox": drawn["bbox"]})
    ids = [each for each, _, _ in data.images]
    if not results["segm"]:
        raise files.DatasetError(
            f"{subject} found nothing in {len(ids)} images: try a lower --presence-threshold"
        )
    labels = len({each for _, _, categories in data.images for each in categories})
    figures = {"categories": labels, "found": len(results["segm"])}
    measured.add(subject, n=len(ids), milliseconds=round(float(np.mean(took)), 1), **figures)
    for kind, split in (("segm", "masks"), ("bbox", "boxes")):
        judged = average_precision(data.truth, results[kind], ids, by=data.by, kind=kind)
        measured.add(subject, split, n=len(ids), **judged)


def measure_instances(
    measured: Measuring, model: SamClip, data: DetectedImages, *, subject: str
) -> None:
    """Segments every box, and has the masks judged by the set's own evaluator."""
    results: Results = []
    left_out = 0
    for image_id, path, _ in measured.track(data.images, subject):
        detections = (data.boxes or {}).get(image_id, [])
        if not detections:
            continue
        pixels = data.read(path)
        height, width = pixels.shape[:2]
        clipped = [clip_box(each.bbox, width_px=width, height_px=height) for each in detections]
        usable = [pair for pair in zip(detections, clipped, strict=True) if pair[1] is not None]
        left_out += len(detections) - len(usable)
        boxes = np.array([box for _, box in usable])
        rles = segment_boxes(model, model.encode_image(pixels), boxes=boxes) if usable else ()
        for (each, _), rle in zip(usable, rles, strict=True):
            found = {"category_id": each.category_id, "segmentation": rle, "score": each.score}
            results.append({"image_id": image_id, **found})
    if not results:
        raise files.DatasetError(f"there is no usable box for the images of {data.truth}")
    ids = [each for each, _, _ in data.images]
    judged = average_precision(data.truth, results, ids, by=data.by, kind="segm")
    measured.add(subject, n=len(ids), boxes=len(results), left_out=left_out, **judged)


def clip_box(
    bbox: tuple[float, float, float, float], *, width_px: int, height_px: int
) -> np.ndarray | None:
    """XYWH to XYXY, float32 [4], cut at the image's border; None if nothing is left."""
    x, y, width, height = bbox
    corners = np.array([x, y, x + width, y + height], np.float32)
    x0, y0, x1, y1 = clipped = corners.clip(0, (width_px, height_px, width_px, height_px))
    return clipped.astype(np.float32) if x0 < x1 and y0 < y1 else None


def segment_boxes(
    model: SamClip, image: ImageEmbedding, *, boxes: np.ndarray
) -> Iterator[dict[str, Any]]:
    """The final mask of each box, XYXY [K,4], as COCO's compressed RLE."""
    for start in range(0, len(boxes), _AT_ONCE):
        part = boxes[start : start + _AT_ONCE]
        three = model.segment(image, boxes=part, multimask_output=True)
        best = three.scores.reshape(-1, 3).argmax(axis=1) + 3 * np.arange(len(part))
        again = three.low_res_masks[best]
        final = model.segment(image, boxes=part, mask_input=again, multimask_output=False)
        yield from map(mask_to_rle, final.masks)
