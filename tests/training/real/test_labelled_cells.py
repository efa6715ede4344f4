"""Which cells a name covers, what is promised absent, and that held-out nouns are nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.data_config import LabelledPhotographs
from training.errors import TrainingError
from training.real.labelled_cells import LabelledCells
from training.real.photographs import Photographs
from training.real.records import KINDS

LEFT, RIGHT = rectangle(0, 0, 40, 96), rectangle(64, 16, 128, 48)
SIZE = 128  # the picture's own: a cell is 16 of its pixels


def cells(
    root: Path, *, augment: bool = False, batch: int = 1, seed: int = 0, **more: Any
) -> LabelledCells:
    config = LabelledPhotographs(
        source="photographs", root=root, resolution=SIZE, batch=batch, **more
    )
    return LabelledCells(Photographs(config, split="train"), config, seed=seed, augment=augment)


def named(dataset: LabelledCells, numbers: torch.Tensor) -> list[str]:
    return [dataset.names[number] for number in numbers.tolist() if number >= 0]


def shown(dataset: LabelledCells, flags: torch.Tensor) -> list[str]:
    return [name for name, flag in zip(dataset.names, flags.tolist(), strict=True) if flag]


def test_cells_are_covered_by_what_is_there(tmp_path: Path) -> None:
    """A crowd and a mask of all of a kind count, and masks of a name go together."""
    found = [
        annotation(2, LEFT, semantic=True),
        annotation(1, RIGHT, iscrowd=1),
        annotation(1, rectangle(64, 48, 128, 64)),
    ]
    write_set(
        tmp_path / "toys",
        [(picture(), found, {"labels": ["pets"]})],
        categories=["cat", "dog", "sky"],
        info={"complete": True},
    )
    dataset = cells(tmp_path)
    batch = dataset[0]
    assert named(dataset, batch["names"][0]) == ["cat", "dog"]
    cat, dog = batch["coverage"][0].numpy()
    expected = np.zeros((8, 8), np.float32)
    expected[:6, :2] = 1
    expected[:6, 2] = 0.5
    np.testing.assert_array_equal(dog, expected)
    expected[:] = 0
    expected[1:4, 4:] = 1
    np.testing.assert_array_equal(cat, expected)
    assert batch["masked"].tolist() == batch["exhaustive"].tolist() == [[True, True]]
    assert shown(dataset, batch["present"][0]) == ["cat", "dog", "pets"]
    assert shown(dataset, batch["absent"][0]) == ["sky"]
    assert batch["complete"].tolist() == [True]
    assert not batch["unnamed"].any()
    assert batch["token_mask"][0].sum() == 6 * 8


def test_boxes_without_a_mask_are_told_apart(tmp_path: Path) -> None:
    box = {"category_id": 2, "bbox": [64, 16, 64, 32]}
    write_set(tmp_path / "toys", [(picture(), [box, annotation(1, LEFT)], {})])
    batch = cells(tmp_path)[0]
    assert batch["masked"].tolist() == [[True, False]]
    assert batch["exhaustive"].tolist() == [[False, False]]
    assert batch["coverage"][0, 1, 1:3, 4:].min() == 1
    assert batch["coverage"][0, 1].sum() == 8
    assert not batch["absent"].any()


def test_rows_of_different_lengths_are_filled_up(tmp_path: Path) -> None:
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    write_set(
        tmp_path / "toys",
        [(picture(), both, {}), (picture(), both[:1], {}), (picture(), [], {"labels": ["red"]})],
    )
    dataset = cells(tmp_path, batch=12)
    batch = dataset[0]
    expected = {
        "images": (torch.uint8, (12, 3, SIZE, SIZE)),
        "token_mask": (torch.float32, (12, 8, 8)),
        "names": (torch.int64, (12, 2)),
        "coverage": (torch.float32, (12, 2, 8, 8)),
        "masked": (torch.bool, (12, 2)),
        "exhaustive": (torch.bool, (12, 2)),
        "unnamed": (torch.float32, (12, 8, 8)),
        "present": (torch.bool, (12, 3)),
        "absent": (torch.bool, (12, 3)),
        "complete": (torch.bool, (12,)),
        "broken": (torch.int64, (len(KINDS),)),
    }
    assert {key: (each.dtype, tuple(each.shape)) for key, each in batch.items()} == expected
    rows = {tuple(row) for row in batch["names"].tolist()}
    assert rows == {(0, 1), (0, -1), (-1, -1)}
    assert not batch["coverage"][batch["names"] < 0].any()


def test_held_out_nouns_are_nowhere_and_no_background(tmp_path: Path) -> None:
    """Their cells, and those of nameless masks, are said to be of something unnamed."""
    (tmp_path / "held_out.txt").write_text("dog\n")
    found = [annotation(1, LEFT), annotation(2, RIGHT), annotation(3, rectangle(64, 64, 80, 80))]
    write_set(
        tmp_path / "toys",
        [(picture(), found, {"labels": ["dogs", "pets"]}), (picture(), found[1:], {})],
        categories=["cat", "dog", {"name": "region", "nameless": True}],
        info={"complete": True},
    )
    dataset = cells(tmp_path, held_out=tmp_path / "held_out.txt", batch=4)
    assert dataset.names == ("cat", "pets")
    assert dataset.drawn.pictures.tolist() == [0]  # the other has no name left
    batch = dataset[0]
    assert batch["names"].tolist() == [[0]] * 4
    assert batch["present"].tolist() == [[True, True]] * 4
    expected = np.zeros((8, 8), np.float32)
    expected[1:3, 4:] = 1
    expected[4, 4] = 1
    np.testing.assert_array_equal(batch["unnamed"][0], expected)


def test_what_a_view_leaves_out_is_not_present(tmp_path: Path) -> None:
    found = [annotation(1, rectangle(0, 0, 16, 16)), annotation(2, rectangle(100, 0, 128, 96))]
    write_set(tmp_path / "toys", [(picture(), found, {})], info={"complete": True})
    dataset = cells(tmp_path, augment=True, batch=40)
    batch = dataset[0]
    seen = [set(named(dataset, row)) for row in batch["names"]]
    assert {"dog"} in seen
    assert {"cat", "dog"} in seen
    for row, names in enumerate(seen):
        assert set(shown(dataset, batch["present"][row])) == names
        assert not batch["absent"][row].any()


def test_broken_masks_are_counted_and_nothing_is_promised(tmp_path: Path) -> None:
    broken = annotation(1, LEFT[:50])
    write_set(
        tmp_path / "toys",
        [(picture(), [broken, annotation(1, RIGHT)], {})],
        info={"complete": True},
    )
    batch = cells(tmp_path)[0]
    assert dict(zip(KINDS, batch["broken"].tolist(), strict=True))["mask"] == 1
    assert batch["exhaustive"].tolist() == [[False]]
    assert batch["coverage"].sum() == 8


def test_a_batch_depends_on_seed_and_index_only(tmp_path: Path) -> None:
    found = [annotation(1, LEFT), annotation(2, RIGHT)]
    write_set(tmp_path / "toys", [(picture(), found, {}), (picture(1, 2, 3), found, {})])
    forwards = [cells(tmp_path, augment=True, batch=3)[index] for index in range(3)]
    again = cells(tmp_path, augment=True, batch=3)[2]
    assert all(torch.equal(again[key], forwards[2][key]) for key in again)
    other = cells(tmp_path, augment=True, batch=3, seed=1)[2]
    assert not torch.equal(other["images"], forwards[2]["images"])


def test_photographs_without_a_name_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "toys", [(picture(), [], {})])
    with pytest.raises(TrainingError, match=r"no photograph of the split train .* has a name"):
        cells(tmp_path)


def test_masks_can_be_finer_than_cells_and_asked_for_alone(tmp_path: Path) -> None:
    """A mask of all of a kind is one too; a box and a label of the whole picture are none."""
    box = {"category_id": 2, "bbox": [64, 16, 64, 32]}
    pictures = [
        (picture(), [box], {}),
        (picture(), [], {"labels": ["red"]}),
        (picture(), [annotation(1, rectangle(0, 0, 4, 96), semantic=True), box], {}),
    ]
    write_set(tmp_path / "toys", pictures)
    config = LabelledPhotographs(source="photographs", root=tmp_path, resolution=SIZE, batch=1)
    photographs = Photographs(config, split="train")
    dataset = LabelledCells(photographs, config, seed=0, augment=False, cell_px=4, masked=True)
    assert dataset.drawn.pictures.tolist() == [2]
    batch = dataset[0]
    assert batch["coverage"].shape == (1, 2, 32, 32)
    assert batch["coverage"][0, 0, :24, 0].min() == 1
    assert batch["coverage"][0, 0].sum() == 24
    assert batch["unnamed"].shape == (1, 8, 8)


def test_no_mask_with_a_name_is_told(tmp_path: Path) -> None:
    write_set(tmp_path / "toys", [(picture(), [], {"labels": ["red"]})])
    config = LabelledPhotographs(source="photographs", root=tmp_path, resolution=SIZE, batch=1)
    with pytest.raises(TrainingError, match="has a mask with a name"):
        LabelledCells(Photographs(config, split="train"), config, seed=0, masked=True)
