"""Masks that a model draws for what a set has in boxes only."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from samclip_sdk.image.masks import rle_to_mask
from samclip_sdk.image.packed_masks import PackedMasks
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from training.errors import TrainingError
from training.real.boxed_masks import MADE, MIN_IOU, draw_boxed, mask_set

CAT = rectangle(24, 16, 72, 64)
BOX = np.array([[24, 16, 72, 64]], np.float32)


class RedThings:
    """A model to whom what is red inside a box is a thing; a wrong look at images of one size."""

    manifest = SimpleNamespace(name="red-things")

    def __init__(self, *, blind_at: int | None = None, score: float = 0.95) -> None:
        self.blind_at = blind_at
        self.score = score

    def segment(
        self, image: NDArray[np.uint8], *, boxes: NDArray[np.float32], multimask_output: bool
    ) -> Any:
        assert not multimask_output
        masks = []
        for left, top, right, bottom in boxes.round().astype(int):
            inside = np.zeros(image.shape[:2], bool)
            inside[top:bottom, left:right] = True
            masks.append((image[..., 0] > 200) & (image[..., 1] < 100) & inside)
        if image.shape[1] == self.blind_at:
            masks = [np.zeros_like(mask) for mask in masks]
        packed = PackedMasks.of(np.stack(masks))
        return SimpleNamespace(masks=packed, scores=np.full(len(boxes), self.score))


def red_cat() -> NDArray[np.uint8]:
    pixels = np.full((96, 128, 3), 120, np.uint8)
    pixels[CAT] = (220, 30, 30)
    return pixels


def test_three_looks_find_the_same_thing() -> None:
    masks, good = draw_boxed(RedThings(), red_cat(), BOX, min_iou=MIN_IOU)
    assert good.tolist() == [True]
    np.testing.assert_array_equal(masks[0], CAT)


@pytest.mark.parametrize(
    ("model", "box"),
    [
        (RedThings(blind_at=192), BOX),  # the smaller look does not agree
        (RedThings(score=0.5), BOX),
        (RedThings(), BOX + np.array([[-20, -16, 50, 30]], np.float32)),  # a third of the box
    ],
    ids=["one look", "low score", "loose box"],
)
def test_doubtful_masks_are_refused(model: RedThings, box: NDArray[np.float32]) -> None:
    _, good = draw_boxed(model, red_cat(), box, min_iou=MIN_IOU)
    assert good.tolist() == [False]


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    box = {"category_id": 1, "bbox": [24, 16, 48, 48]}
    crowd, tiny = {**box, "iscrowd": 1}, {"category_id": 2, "bbox": [1, 1, 3, 3]}
    masked = annotation(2, rectangle(0, 0, 9, 9))
    return write_set(
        tmp_path / "toys",
        [(encode(red_cat()), [box, crowd, tiny, masked], {})],
        info={"terms": "CC0"},
    )


def test_a_set_gets_masks_and_keeps_the_rest(boxed: Path, tmp_path: Path) -> None:
    told = mask_set(boxed, tmp_path / "out" / "toys", RedThings())
    assert told == {"kept": 1}
    before, after = (
        json.loads((folder / "instances.json").read_text())
        for folder in (boxed, tmp_path / "out" / "toys")
    )
    assert after["info"] == before["info"]
    drawn, *others = after["annotations"]
    assert others == before["annotations"][1:]
    assert drawn[MADE] == "red-things"
    assert drawn["area"] == CAT.sum()
    np.testing.assert_array_equal(rle_to_mask(drawn["segmentation"]), CAT)
    assert (tmp_path / "out" / "toys" / "images" / "1.jpg").samefile(boxed / "images" / "1.jpg")


def test_an_image_that_is_none_is_counted(boxed: Path, tmp_path: Path) -> None:
    (boxed / "images" / "1.jpg").write_bytes(b"no image")
    told = mask_set(boxed, tmp_path / "out", RedThings())
    assert told == {"broken": 1}


def test_a_damaged_set_leaves_nothing(boxed: Path, tmp_path: Path) -> None:
    (boxed / "instances.json").write_text('{"images": []}')
    with pytest.raises(TrainingError, match="annotations"):
        mask_set(boxed, tmp_path / "out", RedThings())
    assert not (tmp_path / "out").exists()
