"""Instance segmentation with a detector's boxes as prompts: COCO and LVIS v1, by SAM's protocol.

SAM's appendix D.4: each box is asked for three masks, and the most confident of them goes back to
the mask decoder together with the box for the final one. The detector's score is kept. Mask AP
is by the sets' own evaluators: pycocotools for COCO, the lvis package for LVIS v1.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from benchmarks.progress import track
from benchmarks.public import files
from benchmarks.public.record import Instances
from samclip_sdk.masks import mask_to_rle

if TYPE_CHECKING:
    from samclip_sdk import SamClip
    from samclip_sdk.image_embedding import ImageEmbedding

Results = list[dict[str, Any]]
Kind = Literal["segm", "bbox"]


class Score(Protocol):
    """Judges what was found by a set's own evaluator."""

    def __call__(
        self,
        truth: Path | dict[str, Any],
        results: Results,
        ids: Sequence[int],
        *,
        kind: Kind = "segm",
    ) -> dict[str, float | None]:
        """The average precisions, by the names of their fields in `AveragePrecision`.

        Args:
            truth: COCO's or LVIS's annotations, or the file of them.
            results: image_id, category_id, score, and segmentation or bbox, as `kind` says.
            ids: of the pictures that were asked.
            kind: what is compared, masks or boxes.
        """


# Field -> name in LVIS's results; the first six are COCO's too, in this order.
_NAMES = {
    **{"ap": "AP", "ap50": "AP50", "ap75": "AP75"},
    **{"ap_small": "APs", "ap_medium": "APm", "ap_large": "APl"},
    **{"ap_rare": "APr", "ap_common": "APc", "ap_frequent": "APf"},
}
_AT_ONCE = 32  # boxes: three full-size masks of each are in memory
COCO_MOST = 100  # boxes of a category in a picture
LVIS_MOST = 300  # boxes in a picture


_XYWH = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Detection = files.shape(image_id=int, category_id=int, bbox=_XYWH, score=FiniteFloat)
"""A box of a detector, in pixels of the picture, as COCO's results have it."""


@dataclass(frozen=True)
class DetectedPictures:
    """Pictures by id and path, and what a detector found in each, the surest first.

    `annotations` is the truth, COCO's or LVIS's JSON file, and `score` judges masks by it.
    """

    annotations: Path
    pictures: tuple[tuple[int, Path, tuple[Detection, ...]], ...]
    score: Score


def find_coco(root: Path) -> tuple[Path, Any, dict[int, Path]]:
    """COCO's annotation file, what it says of images and categories, and each picture's path."""
    path = files.find(root, "annotations/instances_val2017.json", "instances_val2017.json")
    folder = files.find(root, "val2017", "images/val2017")
    coco = files.shape(images=files.IMAGES, categories=files.CATEGORIES)
    content = files.read_annotations(path, coco)
    return path, content, {each.id: folder / each.file_name for each in content.images}


def find_lvis(root: Path) -> tuple[Path, Any, dict[int, Path]]:
    """The same of LVIS v1, whose pictures are of val2017 and train2017."""
    path = files.find(root, "annotations/lvis_v1_val.json", "lvis_v1_val.json")
    images = list[files.shape(id=int, coco_url=str)]
    content = files.read_annotations(path, files.shape(images=images, categories=files.CATEGORIES))
    places = {}
    for each in content.images:
        year, name = each.coco_url.split("/")[-2:]
        places[each.id] = files.find(root, year, f"images/{year}") / name
    return path, content, places


def read_coco_instances(root: Path, *, boxes: Path) -> DetectedPictures:
    """Reads `instances_val2017.json`; 100 boxes of a category in a picture count."""
    score, (path, content, places) = coco_score(), find_coco(root)
    found = _detected(boxes, path, content, places, most=COCO_MOST, a_category=True)
    return DetectedPictures(path, found, score)


def read_lvis(root: Path, *, boxes: Path) -> DetectedPictures:
    """Reads `lvis_v1_val.json`, of val2017 and train2017; 300 boxes in a picture count."""
    score, (path, content, places) = lvis_score(), find_lvis(root)
    found = _detected(boxes, path, content, places, most=LVIS_MOST, a_category=False)
    return DetectedPictures(path, found, score)


INSTANCES: dict[str, Callable[..., DetectedPictures]] = {
    "coco-instances": read_coco_instances,
    "lvis": read_lvis,
}
"""Set -> what reads it from its folder and a detector's `boxes`."""


def measure_instances(model: SamClip, data: DetectedPictures) -> Instances:
    """Segments every box, and has the masks judged by the set's own evaluator."""
    results: list[dict[str, Any]] = []
    left_out = 0
    for image_id, path, detections in track(data.pictures, "pictures"):
        if not detections:
            continue
        pixels = files.read_pixels(path)
        height, width = pixels.shape[:2]
        clipped = [clip_box(each.bbox, width_px=width, height_px=height) for each in detections]
        usable = [pair for pair in zip(detections, clipped, strict=True) if pair[1] is not None]
        left_out += len(detections) - len(usable)
        if not usable:
            continue
        boxes = np.stack([box for _, box in usable])
        rles = segment_boxes(model, model.encode_image(pixels), boxes=boxes)
        for (each, _), rle in zip(usable, rles, strict=True):
            found = {"category_id": each.category_id, "segmentation": rle, "score": each.score}
            results.append({"image_id": image_id, **found})
    if not results:
        raise files.DatasetError(f"there is no usable box for the pictures of {data.annotations}")
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
        final = model.segment(
            image, boxes=part, mask_input=three.low_res_masks[best], multimask_output=False
        )
        yield from map(mask_to_rle, final.masks)


def _detected(
    boxes: Path, path: Path, content: Any, places: dict[int, Path], *, most: int, a_category: bool
) -> tuple[tuple[int, Path, tuple[Detection, ...]], ...]:
    """What a detector found in each picture, so many at most, or so many of each category."""
    if not boxes.is_file():
        raise files.DatasetError(f"{boxes}: no such file; expected a detector's COCO results")
    categories = {each.id for each in content.categories}
    found: dict[int, list[Detection]] = {image_id: [] for image_id in sorted(places)}
    seen = Counter[tuple[int, int]]()
    detections = files.read_annotations(boxes, list[Detection])
    for each in sorted(detections, key=lambda each: -each.score):
        if each.image_id not in found or each.category_id not in categories:
            raise files.DatasetError(
                f"{boxes} has a box of image {each.image_id}, category {each.category_id}, which "
                f"{path} does not have"
            )
        counted = (each.image_id, each.category_id if a_category else 0)
        seen[counted] += 1
        if seen[counted] <= most:
            found[each.image_id].append(each)
    return tuple((each, places[each], tuple(kept)) for each, kept in found.items())


def coco_score() -> Score:
    """Judges by COCOeval; refuses a missing pycocotools now, not after hours of masks."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise files.DatasetError("pycocotools is not installed: pip install pycocotools") from error

    def score(
        truth: Path | dict[str, Any],
        results: Results,
        ids: Sequence[int],
        *,
        kind: Kind = "segm",
    ) -> dict[str, float | None]:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
            coco = COCO()
            coco.dataset = json.loads(truth.read_bytes()) if isinstance(truth, Path) else truth
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(results), kind)
            evaluation.params.imgIds = list(ids)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return dict(zip(_NAMES, map(_share, evaluation.stats[:6]), strict=False))

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

    def score(
        truth: Path | dict[str, Any],
        results: Results,
        ids: Sequence[int],
        *,
        kind: Kind = "segm",
    ) -> dict[str, float | None]:
        # The newest lvis, 0.5.3, says `np.float` and `Logger.warn`, which are gone or going.
        with warnings.catch_warnings(), patch.object(np, "float", float, create=True):
            warnings.simplefilter("ignore", DeprecationWarning)
            known = lvis.LVIS(str(truth))
            evaluation = lvis.LVISEval(known, lvis.LVISResults(known, results), kind)
            evaluation.params.img_ids = list(ids)
            evaluation.run()
        found = evaluation.get_results()
        return {field: _share(found[name]) for field, name in _NAMES.items()}

    return score


def _share(value: float) -> float | None:
    """Both evaluators say -1 where there is no truth to judge by."""
    return None if value < 0 else float(value)
