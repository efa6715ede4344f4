"""What one view of a photograph teaches: names, cells, objects, prompts and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.training.photograph_files import annotation, encode, rectangle, sample_image, write_set
from training.data_config import JointPhotographs
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs

LEFT, RIGHT = rectangle(0, 0, 40, 96), rectangle(64, 16, 128, 48)
SIZE = 128  # the image's own: a cell is 16 of its pixels


def batches(root: Path, *, augment: bool = False, late_from: int = 9, **more: Any) -> JointBatches:
    settings: dict[str, Any] = {"resolution": SIZE, "late_resolution": 64, "batch": 1}
    settings |= {"prompts": 3, "labels": 2}
    config = JointPhotographs(source="photographs", root=root, **settings | more)
    photographs = Photographs(config, split="train")
    return JointBatches(photographs, config, seed=0, augment=augment, late_from=late_from)


def two_things(root: Path, **more: Any) -> Path:
    return write_set(
        root / "toys",
        [(sample_image(), [annotation(2, LEFT), annotation(1, RIGHT)], more)],
        categories=["cat", "dog", "sky"],
        info={"complete": True},
    )


def test_a_batch_is_what_is_known_of_its_images(tmp_path: Path) -> None:
    two_things(tmp_path)
    dataset = batches(tmp_path)
    batch = dataset[0]
    assert [dataset.names[n] for n in batch["names"][0].tolist()] == ["cat", "dog"]
    assert batch["coverage"].shape == (1, 2, 8, 8)
    assert batch["coverage"][0, 1, 0].tolist() == [1, 1, 0.5, 0, 0, 0, 0, 0]
    assert batch["masked"].all()
    assert batch["exhaustive"].all()
    assert batch["absent"].tolist() == [[False, False, True]]
    assert batch["owners"].tolist() == [0, 0]
    assert batch["targets"].shape == (2, 32, 32)
    asked = [dataset.names[n] for n in batch["asked"].tolist()]
    assert sorted(asked[:2]) == ["cat", "dog"]
    assert asked[2] == "sky"
    assert batch["asked_shown"].tolist() == [True, True, False]
    assert not batch["asked_targets"][2].any()
    masks = {"cat": RIGHT, "dog": LEFT}
    for name, target in zip(asked[:2], batch["asked_targets"], strict=False):
        cells = masks[name].reshape(24, 4, 32, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(target[:24].float().numpy(), cells, atol=1e-3)


def test_each_thing_may_be_asked_for_several_times(tmp_path: Path) -> None:
    two_things(tmp_path)
    batch = batches(tmp_path, prompts=1, prompts_each=3)[0]
    assert batch["owners"].tolist() == [0, 0, 0]
    assert (batch["targets"] == batch["targets"][0]).all()
    assert len(batch["point_coords"].unique(dim=0)) > 1


def test_who_knows_how_many_there_are_is_not_asked(tmp_path: Path) -> None:
    """A crowd, and all of a kind in one mask."""
    found = [annotation(1, LEFT, iscrowd=1), annotation(2, RIGHT, semantic=True)]
    write_set(tmp_path / "toys", [(sample_image(), found, {})], info={"complete": True})
    batch = batches(tmp_path)[0]
    assert not len(batch["owners"])
    assert batch["targets"].shape == (0, 32, 32)
    assert batch["asked_shown"].tolist() == [True, True]


def test_a_name_whose_masks_show_a_part_of_it_is_not_asked(tmp_path: Path) -> None:
    two_things(tmp_path, neg_category_ids=[], not_exhaustive_category_ids=[2])
    dataset = batches(tmp_path)
    batch = dataset[0]
    asked = [dataset.names[n] for n in batch["asked"][batch["asked_shown"]].tolist()]
    assert asked == ["cat"]
    assert batch["owners"].tolist() == [0, 0], "but each thing can be prompted"


def test_a_set_that_promises_nothing_teaches_no_background(tmp_path: Path) -> None:
    write_set(tmp_path / "toys", [(sample_image(), [annotation(1, RIGHT)], {})])
    batch = batches(tmp_path)[0]
    assert not batch["absent"].any()
    assert not batch["exhaustive"].any()
    assert batch["asked_shown"].tolist() == [True]


def test_an_image_without_a_label_still_has_a_view(tmp_path: Path) -> None:
    write_set(tmp_path / "toys", [(sample_image(), [], {})])
    batch = batches(tmp_path)[0]
    assert batch["names"].tolist() == [[-1]]
    assert not len(batch["asked"])
    assert not batch["present"].any()


def test_late_batches_have_the_late_resolution(tmp_path: Path) -> None:
    two_things(tmp_path)
    dataset = batches(tmp_path, late_from=3)
    assert [dataset[index]["images"].shape[-1] for index in (0, 2, 3, 9)] == [128, 128, 64, 64]


def test_a_pasted_thing_is_there_with_its_name(tmp_path: Path) -> None:
    """A red cat is pasted into a complete image of nothing: it is no longer absent."""
    red = np.full((96, 128, 3), (90, 120, 150), np.uint8)
    cat = rectangle(32, 24, 96, 72)
    red[cat] = (250, 0, 0)
    write_set(
        tmp_path / "toys",
        [(sample_image(), [], {}), (encode(red), [annotation(1, cat)], {})],
        info={"complete": True},
    )
    dataset = batches(tmp_path, augment=True, paste=1.0, batch=6)
    every = [dataset[index] for index in range(6)]
    assert all(torch.equal(dataset[0][key], value) for key, value in every[0].items())
    pasted = 0
    for batch in every:
        redness = batch["images"][:, 0].float() - batch["images"][:, 1].float()
        cells = redness.reshape(6, 8, 16, 8, 16).mean(dim=(2, 4)) > 100
        for row in range(6):
            if not batch["present"][row, 0]:
                continue
            pasted += 1
            assert not batch["absent"][row, 0]
            covered = batch["coverage"][row, 0] > 0.4
            assert covered[cells[row]].all(), "what is red is the cat"
            assert batch["exhaustive"][row, 0], "its set promised that there is no other"
    assert pasted > 12
