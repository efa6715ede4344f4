from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
import torch
from PIL import Image

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import Frame, letterbox
from tests.training.equal_batches import check_reproducible
from training.batches import Batch
from training.errors import TrainingError
from training.real.records import KINDS
from training.real.sa1b import Sa1bBatches, Sa1bPairs

SIZE, PROMPTS = 64, 6
HEIGHT, WIDTH = 60, 100  # letterboxed to 38 x 64 of 64


def objects(count: int) -> np.ndarray:
    """Rings bool [count,60,100], no two of which touch; the smallest is 9 px wide."""
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    for number in range(count):
        top, left = 20 * (number // 5) + 2, 20 * (number % 5) + 2
        masks[number, top : top + 9 + number % 5, left : left + 9 + number // 2] = True
        masks[number, top + 4 : top + 7, left + 4 : left + 6] = False
    return masks


def annotation(mask: np.ndarray) -> dict[str, Any]:
    rle = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "bbox": pycocotools.mask.toBbox(rle).tolist(),
        "area": int(mask.sum()),
    }


def write_pair(folder: Path, number: int, masks: np.ndarray) -> None:
    """An image with its number in blue and its objects in red, and its JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.full((HEIGHT, WIDTH, 3), (0, 0, number % 256), np.uint8)
    for row, mask in enumerate(masks):
        pixels[mask, 0] = 20 + 15 * row
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")  # lossless; an image's name is no one's concern
    (folder / f"sa_{number}.jpg").write_bytes(file.getvalue())
    image = {"image_id": number, "width": WIDTH, "height": HEIGHT}
    text = json.dumps({"image": image, "annotations": [annotation(mask) for mask in masks]})
    (folder / f"sa_{number}.json").write_text(text)


def open_batches(folder: Path, *, seed: int = 0, batch: int = 2) -> Sa1bBatches:
    pairs = Sa1bPairs(folder, split="train")
    return Sa1bBatches(pairs, resolution=SIZE, batch=batch, prompts=PROMPTS, seed=seed)


def numbers(batch: Batch) -> list[int]:
    """The numbers of a batch's images: blue is flat, so that resizing leaves it."""
    return batch["images"][:, 2, 0, 0].tolist()


def counts(*found: Batch) -> dict[str, int]:
    total = torch.stack([batch["broken"] for batch in found]).sum(dim=0).tolist()
    return {kind: count for kind, count in zip(KINDS, total, strict=True) if count}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sa1b")
    for number in range(1, 11):
        write_pair(folder / f"sa_00000{number % 2}", number, objects(12))
    return folder


def test_images_are_letterboxed_as_the_sdk_does(folder: Path) -> None:
    batch = open_batches(folder)[0]
    for number, image, token_mask in zip(
        numbers(batch), batch["images"], batch["token_mask"], strict=True
    ):
        path = folder / f"sa_00000{number % 2}" / f"sa_{number}.jpg"
        with Image.open(path) as opened:
            expected, frame = letterbox(np.asarray(opened), resolution=SIZE, pad_colour=PAD_COLOUR)
        assert torch.equal(image, torch.from_numpy(expected[0]))
        assert (frame.resized_height_px, frame.resized_width_px) == (38, 64)
        assert token_mask.tolist() == [[1.0] * 4] * 3 + [[0.0] * 4]


def test_prompts_lie_in_the_objects(folder: Path) -> None:
    """Points under the frame's own way back; boxes within SAM's noise, and of the same object."""
    frame = Frame.fit(HEIGHT, WIDTH, resolution=SIZE)
    masks = objects(12)
    rows, columns = [[np.flatnonzero(mask.any(axis=axis)) for mask in masks] for axis in (1, 0)]
    corners = np.array(
        [[c[0], r[0], c[-1] + 1, r[-1] + 1] for c, r in zip(columns, rows, strict=True)]
    )
    boxes = frame.to_model(corners.reshape(-1, 2, 2))
    tolerance = 20 * SIZE / 1024 + 1  # the noise, and a pixel of the frame
    dataset = open_batches(folder, batch=1)
    points = with_box = 0
    seen = set()
    for index in range(10):
        batch, asked = dataset[index], []
        for coords, labels in zip(
            batch["point_coords"].numpy(), batch["point_labels"].numpy(), strict=True
        ):
            x, y = np.floor(frame.to_image(coords[labels == 1] + 0.5)).astype(int).T
            inside = masks[:, y, x].all(axis=1)
            assert inside.any()
            points += len(x)
            if len(x):
                asked.append(int(inside.argmax()))
            if (labels == 2).any():
                corner = coords[(labels == 2) | (labels == 3)]
                near = (np.abs(boxes - corner) <= tolerance).all(axis=(1, 2))
                assert (near & inside).any()
                assert (corner <= [64, 38]).all()
                with_box += 1
        assert len(set(asked)) == len(asked), "of twelve objects six are asked for, once each"
        seen |= set(asked)
    assert points > 30
    assert with_box > 10
    assert seen == set(range(12))


def test_each_epoch_sees_every_image_once(folder: Path) -> None:
    dataset = open_batches(folder)
    epochs = [
        [number for index in range(5 * epoch, 5 * epoch + 5) for number in numbers(dataset[index])]
        for epoch in range(3)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(1, 11))
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_depends_on_seed_and_index_only(folder: Path) -> None:
    check_reproducible(lambda seed: open_batches(folder, seed=seed), index=6)


def test_broken_records_are_counted_and_replaced(tmp_path: Path) -> None:
    for number in range(1, 9):
        write_pair(tmp_path, number, objects(8))
    (tmp_path / "sa_1.jpg").write_bytes(b"not an image")
    (tmp_path / "sa_2.json").write_text(json.dumps({"image": {}}))
    (tmp_path / "sa_3.json").write_text(json.dumps({"annotations": []}))
    (tmp_path / "sa_4.json").write_text("[1, 2")
    write_pair(tmp_path, 6, np.zeros((3, HEIGHT, WIDTH), bool))
    dataset = open_batches(tmp_path)
    (tmp_path / "sa_5.json").unlink()
    epoch = [dataset[index] for index in range(4)]
    assert {number for batch in epoch for number in numbers(batch)} == {7, 8}
    broken = counts(*epoch)
    assert set(broken) == {"record", "image", "annotations", "mask"}
    assert broken["annotations"] >= 3
    assert all(len(batch["images"]) == 2 for batch in epoch)


def test_broken_masks_are_counted_and_passed_over(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, objects(7))
    path = tmp_path / "sa_1.json"
    record = json.loads(path.read_text())
    whole = record["annotations"]
    runs = whole[0]["segmentation"]["counts"]
    record["annotations"] = [
        *whole,
        annotation(np.zeros((HEIGHT, WIDTH), bool)),
        annotation(objects(1)[0][:, :50]),
        {"bbox": [0, 0, 5, 5]},
        None,
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs[:-4]}},
    ]
    path.write_text(json.dumps(record))
    # Eight prompts for seven masks that can be used: all the others are met on the way.
    pairs = Sa1bPairs(tmp_path, split="train")
    dataset = Sa1bBatches(pairs, resolution=SIZE, batch=4, prompts=8, seed=0)
    assert counts(dataset[0]) == {"mask": 4 * 5}


def test_a_folder_without_pairs_is_named(tmp_path: Path) -> None:
    (tmp_path / "sa_1.jpg").touch()
    (tmp_path / "sa_2.json").touch()
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(TrainingError, match=f"no pair sa_N.jpg and sa_N.json below {tmp_path}"):
        Sa1bPairs(tmp_path, split="train")
    (tmp_path / "sa_1.json").touch()
    assert Sa1bPairs(tmp_path, split="train").unpaired == 1
    with pytest.raises(TrainingError, match=r"none of 1 pairs below .* is for validation"):
        Sa1bPairs(tmp_path, split="validation")
