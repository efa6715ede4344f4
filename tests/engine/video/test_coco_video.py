"""COCO video JSON: what is in it, and what is left when a run does not come to its end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from samclip_sdk import TrackedInstances
from samclip_sdk.engine.video import coco_video
from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.errors import StorageError
from samclip_sdk.image.masks import mask_to_box
from tests.refusals import refused

LABELS = ("dog", "cat")


def frame(index: int, *objects: tuple[int, str, int]) -> TrackedInstances:
    """Objects: an id, a label, and how many columns of the frame [6,9] they have."""
    masks = np.zeros((len(objects), 6, 9), dtype=bool)
    for mask, (_, _, columns) in zip(masks, objects, strict=True):
        mask[1:4, :columns] = True
    numbers = np.full(len(objects), 0.5, dtype=np.float32)
    return TrackedInstances(
        labels=[label for _, label, _ in objects],
        scores=numbers * (1 + index),
        boxes=np.array([mask_to_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4),
        masks=masks,
        label_index=np.array([LABELS.index(each) for _, each, _ in objects], dtype=np.int32),
        label_scores=numbers,
        predicted_ious=numbers,
        stability_scores=numbers,
        ids=np.array([each for each, _, _ in objects], dtype=np.int32),
        frame_index=index,
        frame_name=f"frame {index}",
        encoded=True,
    )


FRAMES = (
    frame(0, (2, "cat", 3), (1, "dog", 2)),
    frame(1),
    frame(2, (2, "cat", 4)),
    frame(3, (3, "dog", 9)),
)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_an_annotation_for_each_object(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with CocoVideoWriter(path, labels=LABELS, name="film", fps=12.5) as writer:
        for each in FRAMES:
            writer.add(each)
    found = read(path)
    assert found["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    (video,) = found["videos"]
    assert video == {
        **{"id": 1, "name": "film", "height": 6, "width": 9, "length": 4, "fps": 12.5},
        "file_names": [f"frame {index}" for index in range(4)],
    }
    every = {each["id"]: each for each in found["annotations"]}
    assert list(every) == [1, 2, 3]
    cat = every[2]
    assert (cat["video_id"], cat["category_id"], cat["iscrowd"]) == (1, 2, 0)
    assert cat["areas"] == [9, None, 12, None]
    assert cat["bboxes"] == [[0, 1, 3, 3], None, [0, 1, 4, 3], None]
    assert cat["score"] == pytest.approx((0.5 + 1.5) / 2)
    masks = [coco_mask.decode(each) for each in cat["segmentations"] if each]
    assert np.array_equal(masks, [FRAMES[0].masks[0], FRAMES[2].masks[0]])
    assert every[3]["areas"] == [None, None, None, 27]


def test_it_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a process that is killed leaves most of it."""
    path = tmp_path / "a.json"
    monkeypatch.setattr(coco_video, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(coco_video, "PATIENCE", 0.0)
    writer = CocoVideoWriter(path, labels=LABELS, name="")
    for count, each in enumerate(FRAMES, 1):
        writer.add(each)
        assert read(path)["videos"][0]["length"] == count
    writer.close()


def test_a_frame_whose_name_is_no_text(tmp_path: Path) -> None:
    path, name = tmp_path / "a.json", "caf\udce9.jpg"
    with CocoVideoWriter(path, labels=LABELS, name="") as writer:
        writer.add(replace(FRAMES[0], frame_name=name))
    assert read(path)["videos"][0]["file_names"] == [name]


def test_nothing_is_left_of_nothing(tmp_path: Path) -> None:
    with CocoVideoWriter(tmp_path / "a.json", labels=LABELS, name=""):
        pass
    assert list(tmp_path.iterdir()) == []
    nowhere = tmp_path / "none" / "a.json"
    refused(lambda: CocoVideoWriter(nowhere, labels=LABELS, name=""), StorageError, "none")
