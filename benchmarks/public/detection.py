"""Objects by the names of a set's categories: COCO, LVIS v1, and photographs in their layout.

A model is asked for all names that its set knows of a picture, and gets no boxes. Average precision
of its masks and boxes is by the sets' own evaluators, as in `instances`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.progress import track
from benchmarks.public import files
from benchmarks.public.instances import (
    COCO_MOST,
    LVIS_MOST,
    Results,
    Score,
    coco_score,
    find_coco,
    find_lvis,
    lvis_score,
)
from benchmarks.public.record import AveragePrecision, Detections
from samclip_sdk.masks import mask_to_box, mask_to_rle

if TYPE_CHECKING:
    from samclip_sdk import SamClip

Pixels = NDArray[np.uint8]
Found = tuple[int, float, NDArray[np.bool_]]
"""An object: the place of its name among those asked, its score, its mask [H,W]."""

Detect = Callable[[Pixels, Sequence[str]], list[Found]]


@dataclass(frozen=True)
class AskedPictures:
    """Pictures by id, path, and the ids of the categories that each is asked for.

    `truth` is COCO's or LVIS's annotations, or their file; `names` are the categories' by id, and
    `most` is how many objects of a picture count.
    """

    truth: Path | dict[str, Any]
    names: dict[int, str]
    pictures: tuple[tuple[int, Path, tuple[int, ...]], ...]
    most: int
    score: Score
    read: Callable[[Path], Pixels] = files.read_pixels


def read_coco_categories(root: Path) -> AskedPictures:
    """Reads `instances_val2017.json`; with --boxes, a detector's boxes are segmented instead."""
    score, (path, content, places) = coco_score(), find_coco(root)
    return _ask_all(path, content, places, most=COCO_MOST, score=score)


def read_lvis_categories(root: Path) -> AskedPictures:
    """Reads `lvis_v1_val.json`, of val2017 and train2017; with --boxes likewise."""
    score, (path, content, places) = lvis_score(), find_lvis(root)
    return _ask_all(path, content, places, most=LVIS_MOST, score=score)


def read_photographs(root: Path) -> AskedPictures:
    """Reads the split "val" of the sets in COCO's layout below a folder, as training has them.

    Sets count that have a name and a mask for every thing; a picture is asked for the names of its
    own set, which names all of them in it.
    """
    # Only here: training's readers need more than the other sets do.
    from benchmarks.public.photographs import list_things, read_upright

    score = coco_score()
    truth, names, pictures = list_things(root)
    return AskedPictures(truth, names, pictures, most=COCO_MOST, score=score, read=read_upright)


DETECTION: dict[str, Callable[[Path], AskedPictures]] = {
    "coco-instances": read_coco_categories,
    "lvis": read_lvis_categories,
    "photographs": read_photographs,
}
"""Set -> what reads it from its folder."""


def by_one_model(model: SamClip, names: Sequence[str], *, most: int, threshold: float) -> Detect:
    """The model by itself; `names` are embedded now, so that no picture pays for that."""
    blank = np.zeros((32, 32, 3), np.uint8)
    model.segment_text(blank, names, threshold=1.0, refine=False)

    def detect(pixels: Pixels, asked: Sequence[str]) -> list[Found]:
        found = model.segment_text(
            pixels, asked, threshold=threshold, instances=True, max_instances=most
        )
        places, scores = found.label_index.tolist(), found.scores.tolist()
        return list(zip(places, scores, found.masks, strict=True))

    return detect


def measure_detection(
    detect: Detect,
    data: AskedPictures,
    *,
    method: Literal["one_model", "two_models"],
    resolution_px: int,
    threshold: float | None,
) -> Detections:
    """Asks every picture, and has masks and boxes judged by the set's own evaluator."""
    masks: Results = []
    boxes: Results = []
    took = []
    for image_id, path, categories in track(data.pictures, method.replace("_", " ")):
        pixels = data.read(path)
        started = time.perf_counter()
        found = detect(pixels, [data.names[each] for each in categories])
        took.append(1000 * (time.perf_counter() - started))
        for place, score, mask in found:
            told = {"image_id": image_id, "category_id": categories[place], "score": score}
            x0, y0, x1, y1 = mask_to_box(mask).tolist()
            masks.append(told | {"segmentation": mask_to_rle(mask)})
            boxes.append(told | {"bbox": [x0, y0, x1 - x0, y1 - y0]})
    if not masks:
        raise files.DatasetError(
            f"{method.replace('_', ' ')} found nothing in {len(data.pictures)} pictures: try a "
            "lower --presence-threshold"
        )
    ids = [each for each, _, _ in data.pictures]
    return Detections(
        method=method,
        pictures=len(ids),
        categories=len({each for _, _, categories in data.pictures for each in categories}),
        found=len(masks),
        presence_threshold=threshold,
        resolution_px=resolution_px,
        milliseconds=round(float(np.mean(took)), 1),
        masks=AveragePrecision(**data.score(data.truth, masks, ids)),
        boxes=AveragePrecision(**data.score(data.truth, boxes, ids, kind="bbox")),
    )


def measure_methods(
    model: SamClip, data: AskedPictures, *, threshold: float | None, rival: Detect | None
) -> Iterator[Detections]:
    """Measures a model by itself, and another way beside it if there is one."""
    own = model.manifest.calibration.presence_threshold if threshold is None else threshold
    resolution_px = model.manifest.tasks.segmentation.resolution
    names = [data.names[each] for each in sorted(data.names)]
    detect = by_one_model(model, names, most=data.most, threshold=own)
    yield measure_detection(
        detect, data, method="one_model", resolution_px=resolution_px, threshold=own
    )
    if rival is not None:
        yield measure_detection(
            rival, data, method="two_models", resolution_px=resolution_px, threshold=None
        )


def _ask_all(
    path: Path, content: Any, places: dict[int, Path], *, most: int, score: Score
) -> AskedPictures:
    """Asks every picture for all categories, their names as they are spoken."""
    names = {each.id: each.name.replace("_", " ") for each in content.categories}
    files.distinct(names.values(), source=path)
    pictures = tuple((each, places[each], tuple(sorted(names))) for each in sorted(places))
    return AskedPictures(path, names, pictures, most=most, score=score)
