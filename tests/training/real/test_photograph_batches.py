"""Batches of photographs have composed batches' shapes, and depend on seed and index alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samclip_sdk.bundle.manifest import PAD_COLOUR
from tests.training.photograph_files import (
    annotation,
    change_set,
    encode,
    picture,
    rectangle,
    write_set,
)
from training.batches import Batch, batches
from training.composed.prompts import MAX_POINTS
from training.data_config import PhotographPictures, PhotographScenes
from training.errors import TrainingError
from training.real.photograph_batches import PhotographPictureBatches, PhotographSceneBatches
from training.real.photographs import Photographs
from training.real.records import KINDS

SIZE, PROMPTS = 128, 4
BLUE, RED = rectangle(8, 8, 60, 60), rectangle(70, 30, 120, 90)
SPECK = rectangle(0, 0, 10, 10)


def two_things(extra: int = 0) -> bytes:
    """Grey, with a blue and a red rectangle."""
    pixels = np.full((96, 128, 3), 100 + extra, np.uint8)
    pixels[BLUE] = (0, 0, 250)
    pixels[RED] = (250, 0, 0)
    return encode(pixels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shown = [annotation(1, BLUE), annotation(2, RED), annotation(1, SPECK)]
    no_prompts = [
        annotation(1, BLUE, iscrowd=1),
        annotation(2, RED, semantic=True),
        {"category_id": 1, "bbox": [8, 8, 52, 52]},
    ]
    write_set(
        tmp_path / "toys",
        [
            (two_things(), shown, {}),
            (two_things(3), shown, {}),
            (picture(), [annotation(1, SPECK)], {}),
            (picture(0, 200, 0), no_prompts, {}),
            (picture(0, 0, 0), [], {}),
        ],
    )
    return tmp_path


def scenes_of(
    root: Path, *, seed: int = 0, augment: bool = True, **more: Any
) -> PhotographSceneBatches:
    given = {"resolution": SIZE, "batch": 3, "prompts": PROMPTS, **more}
    config = PhotographScenes(source="photographs", root=root, **given)
    return PhotographSceneBatches(
        Photographs(config, split="train"), config, seed=seed, augment=augment
    )


def pictures_of(
    root: Path, *, seed: int = 0, augment: bool = True, **more: Any
) -> PhotographPictureBatches:
    given = {"resolutions": (96, 128), "pixels_per_batch": 40000, **more}
    config = PhotographPictures(source="photographs", root=root, **given)
    return PhotographPictureBatches(
        Photographs(config, split="train"), config, seed=seed, augment=augment
    )


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def counts(batch: Batch) -> dict[str, int]:
    return {
        kind: count for kind, count in zip(KINDS, batch["broken"].tolist(), strict=True) if count
    }


def test_scenes_have_the_shapes_of_composed_ones(root: Path) -> None:
    batch = scenes_of(root, random_regions=2)[0]
    grid = SIZE // 16
    expected = {
        "images": (torch.uint8, (3, 3, SIZE, SIZE)),
        "token_mask": (torch.float32, (3, grid, grid)),
        "point_coords": (torch.float32, (3 * PROMPTS, MAX_POINTS, 2)),
        "point_labels": (torch.int32, (3 * PROMPTS, MAX_POINTS)),
        "targets": (torch.float16, (3 * PROMPTS, SIZE // 4, SIZE // 4)),
        "regions": (torch.float32, (3 * (PROMPTS + 2), 4)),
        "broken": (torch.int64, (len(KINDS),)),
    }
    assert {key: (each.dtype, tuple(each.shape)) for key, each in batch.items()} == expected
    assert counts(batch) == {}
    assert scenes_of(root)[0]["regions"].shape == (0, 4)


def test_pictures_have_the_shapes_of_composed_ones(root: Path) -> None:
    dataset = pictures_of(root)
    sides = set()
    for index in range(8):
        batch = dataset[index]
        side = batch["images"].shape[-1]
        count = 40000 // side**2
        assert batch["images"].shape == (count, 3, side, side)
        assert batch["token_mask"].shape == (count, side // 16, side // 16)
        assert set(batch) == {"images", "token_mask", "broken"}
        sides.add(side)
    assert sides == {96, 128}


def test_targets_lie_where_the_things_are(root: Path) -> None:
    """Every target holds blue or red alone, all of it; points are inside, the padding is bare."""
    dataset = scenes_of(root)
    seen = set()
    for index in range(12):
        batch = dataset[index]
        for number, target in enumerate(batch["targets"].float().numpy()):
            image = batch["images"][number // PROMPTS].permute(1, 2, 0).numpy().astype(int)
            padded = (image == PAD_COLOUR).all(axis=2)
            full = np.kron(target, np.ones((4, 4))) > 0.99
            colour = np.median(image[full], axis=0)
            thing = "blue" if colour[2] > colour[0] + 80 else "red"
            assert abs(colour[2] - colour[0]) > 80
            seen.add(thing)
            difference = (image[..., 2] - image[..., 0]) * (1 if thing == "blue" else -1)
            of_it = (difference > 60) & ~padded
            assert of_it.sum() == pytest.approx(16 * target.sum(), rel=0.1)
            assert target.sum() >= 30
            coords, labels = batch["point_coords"][number], batch["point_labels"][number]
            for x, y in coords[labels == 1].long().tolist():
                assert target[y // 4, x // 4] > 0
    assert seen == {"blue", "red"}


def test_token_masks_say_where_the_picture_is(root: Path) -> None:
    batch = scenes_of(root, augment=False)[0]
    assert batch["token_mask"].tolist() == [[[1.0] * 8] * 6 + [[0.0] * 8] * 2] * 3
    assert (batch["images"][:, :, 96:].permute(0, 2, 3, 1) == torch.tensor(PAD_COLOUR)).all()
    assert (batch["point_coords"][..., 1] <= 96).all()


def test_nothing_asks_for_what_is_no_single_thing(root: Path) -> None:
    """Of five pictures only two have masks to ask for: no crowd, no semantic, no speck, no box."""
    assert scenes_of(root).drawn.pictures.tolist() == [0, 1]
    assert pictures_of(root).drawn.pictures.tolist() == [0, 1, 2, 3, 4]


def test_each_concept_is_asked_for_as_often(tmp_path: Path) -> None:
    """One red thing of ten: with a prompt a picture, it is asked for in every second one."""
    cats = [annotation(1, rectangle(14 * k, 0, 14 * k + 14, 50)) for k in range(9)]
    dog = annotation(2, rectangle(0, 60, 128, 90))
    write_set(tmp_path / "toys", [(picture(), [*cats, dog], {})])
    dataset = scenes_of(tmp_path, prompts=1, batch=50, augment=False)
    targets = torch.cat([dataset[index]["targets"] for index in range(4)])
    dogs = int((targets[:, 15:].sum(dim=(1, 2)) > 0).sum())
    assert 75 <= dogs <= 125


def test_a_batch_depends_on_seed_and_index_only(root: Path) -> None:
    for make in (scenes_of, pictures_of):
        dataset = make(root)
        forwards = [dataset[index] for index in range(4)]
        assert equal(dataset[1], forwards[1])
        assert equal(make(root)[3], forwards[3])
        assert not equal(make(root, seed=1)[3], forwards[3])
        for index, batch in zip((1, 3), batches(make(root), (1, 3), workers=1), strict=True):
            assert equal(batch, forwards[index])


def test_pictures_without_augmentation_are_whole(root: Path) -> None:
    dataset = pictures_of(root, augment=False, resolutions=(128,))
    images = torch.cat([dataset[index]["images"] for index in range(10)])
    colours = {tuple(each[:, 90, 60].tolist()) for each in images}
    assert colours == {(100,) * 3, (103,) * 3, (90, 120, 150), (0, 200, 0), (0, 0, 0)}


def test_broken_records_are_counted_and_replaced(root: Path) -> None:
    (root / "toys" / "images" / "1.jpg").write_bytes(b"no picture")
    found: list[dict[str, int]] = []
    for make in (scenes_of, pictures_of):
        dataset = make(root)
        found.append({})
        for index in range(6):
            batch = dataset[index]
            assert len(batch["images"]) == (
                3 if make is scenes_of else 40000 // batch["images"].shape[-1] ** 2
            )
            for kind, count in counts(batch).items():
                found[-1][kind] = found[-1].get(kind, 0) + count
    assert [set(each) for each in found] == [{"picture"}, {"picture"}]


def test_broken_masks_are_counted_and_passed_over(root: Path) -> None:
    small = annotation(1, BLUE[:50], area=3000)
    corners = {
        "category_id": 1,
        "bbox": [8, 8, 60, 60],
        "area": 3000,
        "segmentation": [[1, 2, 3, 4]],
    }
    write_set(root / "more", [(two_things(), [small, corners, annotation(2, RED)], {})])
    dataset = scenes_of(root, sets={"toys": {"weight": 0}})
    batch = dataset[0]
    assert counts(batch)["mask"] >= 2 * 3
    assert (batch["targets"].sum(dim=(1, 2)) >= 30).all()
    change_set(root / "more", annotations=[{**small, "id": 1, "image_id": 1}])
    with pytest.raises(TrainingError, match=r"100 records in a row .* no mask can be used"):
        scenes_of(root, sets={"toys": {"weight": 0}})[0]


def test_what_cannot_be_batched_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the resolution 100 must divide by 16"):
        scenes_of(root, resolution=100)
    with pytest.raises(TrainingError, match="the resolution 100 must divide by 16"):
        pictures_of(root, resolutions=(96, 100))
    write_set(tmp_path / "other" / "toys", [(picture(), [annotation(1, SPECK)], {})])
    with pytest.raises(TrainingError, match=r"no photograph of the split train .* fills 30 cells"):
        scenes_of(tmp_path / "other")


def test_pasted_things_are_asked_for_and_hide_others(root: Path) -> None:
    plain, pasted = scenes_of(root, seed=3), scenes_of(root, seed=3, paste=1.0)
    more = 0
    for index in range(6):
        one, other = plain[index], pasted[index]
        targets = other["targets"].float().unflatten(0, (3, PROMPTS))
        assert (targets.sum(dim=(2, 3)) >= 30).all()
        for row in targets:
            kinds = torch.unique(row.flatten(1), dim=0)
            assert kinds.sum(dim=0).max() <= 1.01  # no two of them hold the same cell
            more += len(kinds) > 2
        assert not torch.equal(one["images"], other["images"])
    assert more >= 9
