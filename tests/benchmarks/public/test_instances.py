"""COCO and LVIS in miniature: a detector's boxes, segmented and judged by the sets' evaluators."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.public import detection
from benchmarks.public.detection import (
    DetectedPictures,
    clip_box,
    measure_instances,
    read_coco,
    read_lvis,
)
from benchmarks.public.files import DatasetError, take
from benchmarks.public.record import Instances
from tests.benchmarks.public.painted import BLACK, Painted, paint, write_json

CAT, DOG = 17, 18
DETECTIONS = [
    {"image_id": 1, "category_id": DOG, "bbox": [2, 2, 40, 40], "score": 0.9},
    {"image_id": 2, "category_id": DOG, "bbox": [30, 30, 10, 10], "score": 0.8},
]


def measure(data: DetectedPictures) -> Instances:
    model: Any = Painted()
    return measure_instances(model, data)


def coco(root: Path, *, name: str = "instances_val2017.json", **category: Any) -> Path:
    """Two pictures of one dog each, in a box at (2, 2) of 40 x 40 pixels."""
    images, annotations = [], []
    for index in (1, 2):
        file_name = f"00000000000{index}.jpg"
        paint(root / "val2017" / file_name, BLACK, size=(64, 48))
        images.append(
            {
                "id": index,
                "file_name": file_name,
                "coco_url": f"http://images.cocodataset.org/val2017/{file_name}",
                "width": 64,
                "height": 48,
                "not_exhaustive_category_ids": [],
                "neg_category_ids": [],
            }
        )
        annotations.append(
            {
                "id": index,
                "image_id": index,
                "category_id": DOG,
                "segmentation": [[2, 2, 42, 2, 42, 42, 2, 42]],
                "bbox": [2, 2, 40, 40],
                "area": 1600,
                "iscrowd": 0,
            }
        )
    categories = [{"id": CAT, "name": "cat", **category}, {"id": DOG, "name": "dog", **category}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "annotations" / name, content)
    return root


def detected(root: Path, detections: Any = DETECTIONS) -> Path:
    return write_json(root / "boxes.json", detections)


def test_coco(tmp_path: Path) -> None:
    """By hand: of two dogs the surer box is exact, the other one beside the dog.

    Precision is 1 up to a recall of 0.5, the first 51 of 101 points, and 0 after. Both dogs are of
    1,600 pixels, between 32 and 96 squared.
    """
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path))
    found = measure(data)
    assert (found.pictures, found.boxes, found.left_out) == (2, 2, 0)
    assert found.ap == found.ap50 == found.ap75 == found.ap_medium == pytest.approx(51 / 101)
    assert (found.ap_small, found.ap_large, found.ap_rare) == (None, None, None)


def test_the_detectors_scores_are_kept(tmp_path: Path) -> None:
    """The wrong box before the right one: precision is half up to a recall of a half."""
    boxes = [DETECTIONS[0] | {"score": 0.7}, DETECTIONS[1]]
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path, boxes))
    assert measure(data).ap == pytest.approx(0.5 * 51 / 101)


def test_swapped_categories_change_the_figure(tmp_path: Path) -> None:
    boxes = [each | {"category_id": CAT} for each in DETECTIONS]
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path, boxes))
    assert measure(data).ap == 0


def test_a_limit_judges_only_what_was_asked(tmp_path: Path) -> None:
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path))
    found = measure(take(data, limit=1, source=tmp_path))
    assert (found.pictures, found.boxes) == (1, 1)
    assert found.ap == pytest.approx(1)


def test_lvis(tmp_path: Path) -> None:
    pytest.importorskip("lvis", reason="`make` installs it on its own, see the Makefile")
    root = coco(tmp_path, name="lvis_v1_val.json", frequency="r")
    data = read_lvis(root, boxes=detected(tmp_path))
    found = measure(data)
    assert found.ap == found.ap50 == found.ap_rare == pytest.approx(51 / 101)
    assert (found.ap_common, found.ap_large) == (None, None)
    assert not hasattr(np, "float")  # what the old package needs is taken away again
    first = take(data, limit=1, source=tmp_path)
    assert measure(first).ap == pytest.approx(1)


def test_a_missing_lvis_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lvis", None)
    root = coco(tmp_path, name="lvis_v1_val.json", frequency="r")
    with pytest.raises(DatasetError, match="pip install --no-deps lvis"):
        read_lvis(root, boxes=detected(tmp_path))


def test_boxes_are_asked_in_parts_the_surest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model itself checks that the surest mask of each box comes back with it."""
    monkeypatch.setattr(detection, "_AT_ONCE", 2)
    boxes = [DETECTIONS[0] | {"score": i / 200} for i in range(120)]
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path, boxes))
    scores = [each.score for each in data.pictures[0][2]]
    assert scores == sorted(scores, reverse=True)
    assert (len(scores), scores[0]) == (100, 119 / 200)
    assert measure(data).boxes == 100


def test_evaluators_differ_in_how_many_boxes_they_look_at(tmp_path: Path) -> None:
    """COCO's takes 100 of each category, LVIS's 300 of a picture."""
    pytest.importorskip("lvis", reason="`make` installs it on its own, see the Makefile")
    boxes = detected(
        tmp_path,
        [DETECTIONS[0] | {"category_id": each} for each in (CAT, DOG) for _ in range(160)],
    )
    data = read_coco(coco(tmp_path), boxes=boxes)
    assert len(data.pictures[0][2]) == 200
    root = coco(tmp_path, name="lvis_v1_val.json", frequency="r")
    assert len(read_lvis(root, boxes=boxes).pictures[0][2]) == 300


def test_boxes_are_cut_at_the_border() -> None:
    box = clip_box((-3, 5, 100, 10), width_px=64, height_px=12)
    assert box is not None
    assert box.tolist() == [0, 5, 64, 12]
    assert clip_box((70, 5, 10, 10), width_px=64, height_px=12) is None
    assert clip_box((5, 5, 0, 10), width_px=64, height_px=12) is None


def test_boxes_outside_are_left_out_and_told(tmp_path: Path) -> None:
    boxes = [*DETECTIONS, DETECTIONS[0] | {"bbox": [64, 0, 9, 9]}]
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path, boxes))
    found = measure(data)
    assert (found.boxes, found.left_out) == (2, 1)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"annotations": []}, "is another file: Input should be a valid array"),
        ([{"image_id": 1}], "0.category_id: Field required"),
        ([DETECTIONS[0] | {"bbox": [1, 2, 3]}], "0.bbox.3: Field required"),
        ([DETECTIONS[0] | {"image_id": 9}], "a box of image 9, category 18"),
        ([DETECTIONS[0] | {"category_id": 1}], "a box of image 1, category 1"),
    ],
)
def test_other_boxes_are_refused(tmp_path: Path, boxes: Any, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_coco(coco(tmp_path), boxes=detected(tmp_path, boxes))
    assert message in str(caught.value)
    assert "boxes.json" in str(caught.value)


def test_no_box_at_all(tmp_path: Path) -> None:
    data = read_coco(coco(tmp_path), boxes=detected(tmp_path, []))
    with pytest.raises(DatasetError, match="no usable box"):
        measure(data)


def test_masks_are_plain_json(tmp_path: Path) -> None:
    model: Any = Painted()
    (rle,) = detection.segment_boxes(
        model,
        np.zeros((8, 8, 3), np.uint8),
        boxes=np.array([[0, 0, 4, 4]], np.float32),
    )
    assert json.loads(json.dumps(rle)) == rle
