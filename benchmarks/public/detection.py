"""Objects of COCO, LVIS v1, and photographs in their layout: found by names, or from boxes.

A model is asked for all names that its set knows of a picture, and gets no boxes. Or it gets a
detector's boxes, by SAM's protocol (appendix D.4): each box is asked for three masks, and the most
confident of them goes back to the mask decoder with the box for the final one; the detector's score
is kept. Average precision is by pycocotools for COCO, by the lvis package for LVIS v1.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from benchmarks.public import files
from benchmarks.public.record import AveragePrecision, Detections, Instances
from benchmarks.record import timed
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.picture.masks import mask_to_rle
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.result_base import coco_annotation

Results = list[dict[str, Any]]
"""What was found: image_id, category_id, score, and segmentation or bbox."""

Score = Callable[..., AveragePrecision]
"""(truth, results, ids of the pictures asked, kind="segm" or "bbox") -> average precisions.

The truth is COCO's or LVIS's annotations, or their file.
"""

Pixels = NDArray[np.uint8]
Found = tuple[int, float, NDArray[np.bool_]]
"""An object: the place of its name among those asked, its score, its mask [H,W]."""

Detect = Callable[[Pixels, Sequence[str]], list[Found]]

# In LVIS's results, in the order of our fields; the first six are COCO's too.
_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
_AT_ONCE = 32  # boxes: three full-size masks of each are in memory
COCO_MOST = 100  # boxes of a category in a picture
LVIS_MOST = 300  # boxes in a picture

_XYWH = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Detection = files.shape(image_id=int, category_id=int, bbox=_XYWH, score=FiniteFloat)
"""A box of a detector, in pixels of the picture, as COCO's results have it."""


@dataclass(frozen=True)
class AskedPictures:
    """Pictures by id, path, and the ids of the categories that each is asked for.

    `names` are the categories' by id, and `most` is how many objects of a picture count.
    """

    truth: Path | dict[str, Any]
    names: dict[int, str]
    pictures: tuple[tuple[int, Path, tuple[int, ...]], ...]
    most: int
    score: Score
    read: Callable[[Path], Pixels] = files.read_pixels


@dataclass(frozen=True)
class DetectedPictures:
    """Pictures by id and path, and what a detector found in each, the surest first."""

    truth: Path
    pictures: tuple[tuple[int, Path, tuple[Detection, ...]], ...]
    score: Score


def read_coco(root: Path, *, boxes: Path | None = None) -> AskedPictures | DetectedPictures:
    """Reads `instances_val2017.json`; with --boxes, a detector's boxes are segmented instead.

    Of these, 100 of a category in a picture count.
    """
    path = files.find(root, "annotations/instances_val2017.json", "instances_val2017.json")
    folder = files.find(root, "val2017", "images/val2017")
    coco = files.shape(images=files.IMAGES, categories=files.CATEGORIES)
    content = files.read_annotations(path, coco)
    places = {each.id: folder / each.file_name for each in content.images}
    kept = {"most": COCO_MOST, "by_category": True}
    return _read_objects(path, content.categories, places, boxes=boxes, score=coco_score(), **kept)


def read_lvis(root: Path, *, boxes: Path | None = None) -> AskedPictures | DetectedPictures:
    """Reads `lvis_v1_val.json`, of val2017 and train2017; with --boxes likewise.

    Of these, 300 in a picture count.
    """
    path = files.find(root, "annotations/lvis_v1_val.json", "lvis_v1_val.json")
    images = list[files.shape(id=int, coco_url=str)]
    content = files.read_annotations(path, files.shape(images=images, categories=files.CATEGORIES))
    places = {}
    for each in content.images:
        year, name = each.coco_url.split("/")[-2:]
        places[each.id] = files.find(root, year, f"images/{year}") / name
    kept = {"most": LVIS_MOST, "by_category": False}
    return _read_objects(path, content.categories, places, boxes=boxes, score=lvis_score(), **kept)


def read_photographs(root: Path) -> AskedPictures:
    """Reads the split "val" of the sets in COCO's layout below a folder, as training has them.

    Sets count that have a name and a mask for every thing; a picture is asked for the names of its
    own set, which names all of them in it.
    """
    # Only here: training's readers need more than the other sets do.
    from benchmarks.public.photographs import list_things
    from training.real.records import decode_picture

    score = coco_score()
    return AskedPictures(
        *list_things(root),
        most=COCO_MOST,
        score=score,
        read=lambda path: decode_picture(path.read_bytes()),  # upright, as its masks are
    )


DETECTION: dict[str, Callable[..., AskedPictures | DetectedPictures]] = {
    "coco-instances": read_coco,
    "lvis": read_lvis,
    "photographs": read_photographs,
}
"""Set -> what reads it from its folder."""

INSTANCES = ("coco-instances", "lvis")
"""The sets that are also read with a detector's `boxes`."""


def _read_objects(
    path: Path,
    categories: Any,
    places: dict[int, Path],
    *,
    boxes: Path | None,
    score: Score,
    most: int,
    by_category: bool,
) -> AskedPictures | DetectedPictures:
    """Asks every picture for all categories, or has what a detector found in it.

    That is so many boxes of a picture at most, or so many of each category.
    """
    names = {each.id: each.name.replace("_", " ") for each in categories}  # as they are spoken
    if boxes is None:
        files.distinct(names.values(), source=path)
        pictures = tuple((each, places[each], tuple(sorted(names))) for each in sorted(places))
        return AskedPictures(path, names, pictures, most=most, score=score)
    if not boxes.is_file():
        raise files.DatasetError(f"{boxes}: no such file; expected a detector's COCO results")
    found: dict[int, list[Detection]] = {image_id: [] for image_id in sorted(places)}
    seen = Counter[tuple[int, int]]()
    detections = files.read_annotations(boxes, list[Detection])
    for each in sorted(detections, key=lambda each: -each.score):
        if each.image_id not in found or each.category_id not in names:
            raise files.DatasetError(
                f"{boxes} has a box of image {each.image_id}, category {each.category_id}, which "
                f"{path} does not have"
            )
        counted = (each.image_id, each.category_id if by_category else 0)
        seen[counted] += 1
        if seen[counted] <= most:
            found[each.image_id].append(each)
    kept = tuple((each, places[each], tuple(own)) for each, own in found.items())
    return DetectedPictures(path, kept, score)


def by_one_model(model: SamClip, names: Sequence[str], *, most: int, threshold: float) -> Detect:
    """The model by itself; `names` are embedded now, so that no picture pays for that."""
    blank = np.zeros((32, 32, 3), np.uint8)
    model.segment_text(blank, names, threshold=1.0, refine=False)

    def detect(pixels: Pixels, asked: Sequence[str]) -> list[Found]:
        found = model.segment_instances(pixels, asked, threshold=threshold, max_instances=most)
        places, scores = found.label_index.tolist(), found.scores.tolist()
        return list(zip(places, scores, found.masks, strict=True))

    return detect


def measure_detection(
    detect: Detect, data: AskedPictures, *, method: str, resolution_px: int, threshold: float | None
) -> Detections:
    """Asks every picture, and has masks and boxes judged by the set's own evaluator."""
    masks: Results = []
    boxes: Results = []
    took, words = [], method.replace("_", " ")
    for image_id, path, categories in track(data.pictures, words):
        pixels = data.read(path)
        names = [data.names[each] for each in categories]
        found, ms = timed(lambda seen=pixels, asked=names: detect(seen, asked))
        took.append(ms)
        for place, score, mask in found:
            told = {"image_id": image_id, "category_id": categories[place], "score": score}
            drawn = coco_annotation(PackedMask.pack(mask), size=mask.shape)
            masks.append(told | {"segmentation": drawn["segmentation"]})
            boxes.append(told | {"bbox": drawn["bbox"]})
    ids = [each for each, _, _ in data.pictures]
    if not masks:
        raise files.DatasetError(
            f"{words} found nothing in {len(ids)} pictures: try a lower --presence-threshold"
        )
    return Detections(
        method=method,
        pictures=len(ids),
        categories=len({each for _, _, categories in data.pictures for each in categories}),
        found=len(masks),
        presence_threshold=threshold,
        resolution_px=resolution_px,
        milliseconds=round(float(np.mean(took)), 1),
        masks=data.score(data.truth, masks, ids),
        boxes=data.score(data.truth, boxes, ids, kind="bbox"),
    )


def measure_methods(
    model: SamClip, data: AskedPictures, *, threshold: float | None, rival: Detect | None
) -> Iterator[Detections]:
    """Measures a model by itself, and another way beside it if there is one."""
    own = model.manifest.calibration.presence_threshold if threshold is None else threshold
    names = [data.names[each] for each in sorted(data.names)]
    detect = by_one_model(model, names, most=data.most, threshold=own)
    px = model.manifest.tasks.segmentation.resolution
    yield measure_detection(detect, data, method="one_model", resolution_px=px, threshold=own)
    if rival is not None:
        yield measure_detection(rival, data, method="two_models", resolution_px=px, threshold=None)


def measure_instances(model: SamClip, data: DetectedPictures) -> Instances:
    """Segments every box, and has the masks judged by the set's own evaluator."""
    results: Results = []
    left_out = 0
    for image_id, path, detections in track(data.pictures, "pictures"):
        if not detections:
            continue
        pixels = files.read_pixels(path)
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
        raise files.DatasetError(f"there is no usable box for the pictures of {data.truth}")
    return Instances(
        pictures=len(data.pictures),
        boxes=len(results),
        left_out=left_out,
        resolution_px=model.manifest.tasks.segmentation.resolution,
        **dict(data.score(data.truth, results, [each for each, _, _ in data.pictures])),
    )


def clip_box(
    bbox: tuple[float, float, float, float], *, width_px: int, height_px: int
) -> NDArray[np.float32] | None:
    """XYWH to XYXY, float32 [4], cut at the picture's border; None if nothing is left."""
    x, y, width, height = bbox
    corners = np.array([x, y, x + width, y + height], np.float32)
    x0, y0, x1, y1 = clipped = corners.clip(0, (width_px, height_px, width_px, height_px))
    return clipped.astype(np.float32) if x0 < x1 and y0 < y1 else None


def segment_boxes(
    model: SamClip, image: ImageEmbedding, *, boxes: NDArray[np.float32]
) -> Iterator[dict[str, Any]]:
    """The final mask of each box, XYXY [K,4], as COCO's compressed RLE."""
    for start in range(0, len(boxes), _AT_ONCE):
        part = boxes[start : start + _AT_ONCE]
        three = model.segment(image, boxes=part, multimask_output=True)
        best = three.scores.reshape(-1, 3).argmax(axis=1) + 3 * np.arange(len(part))
        again = three.low_res_masks[best]
        final = model.segment(image, boxes=part, mask_input=again, multimask_output=False)
        yield from map(mask_to_rle, final.masks)


def coco_score() -> Score:
    """Judges by COCOeval; refuses a missing pycocotools now, not after hours of masks."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise files.DatasetError("pycocotools is not installed: pip install pycocotools") from error

    def score(truth: Any, results: Results, ids: list[int], *, kind: str = "segm") -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
            coco = COCO()
            coco.dataset = json.loads(truth.read_bytes()) if isinstance(truth, Path) else truth
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(results), kind)
            evaluation.params.imgIds = ids
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return _precisions(evaluation.stats[:6])

    return score


def lvis_score() -> Score:
    """Judges by LVISEval; refuses a missing lvis package."""
    try:
        import lvis
    except ImportError as error:
        # Without its dependencies: they name an OpenCV that overwrites the headless one.
        raise files.DatasetError(
            "the lvis package is not installed: pip install --no-deps lvis && "
            "pip install pycocotools matplotlib"
        ) from error

    def score(truth: Path, results: Results, ids: list[int], *, kind: str = "segm") -> Any:
        # The newest lvis, 0.5.3, says `np.float` and `Logger.warn`, which are gone or going.
        with warnings.catch_warnings(), patch.object(np, "float", float, create=True):
            warnings.simplefilter("ignore", DeprecationWarning)
            known = lvis.LVIS(str(truth))
            evaluation = lvis.LVISEval(known, lvis.LVISResults(known, results), kind)
            evaluation.params.img_ids = ids
            evaluation.run()
        found = evaluation.get_results()
        return _precisions(found[name] for name in _NAMES)

    return score


def _precisions(values: Iterable[float]) -> AveragePrecision:
    """Of some of its fields, in order; both evaluators say -1 where there is no truth."""
    shares = (None if value < 0 else float(value) for value in values)
    return AveragePrecision(**dict(zip(AveragePrecision.model_fields, shares, strict=False)))
