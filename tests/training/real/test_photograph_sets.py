"""Sets in COCO's layout: what is read, what is promised absent, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refused
from tests.training.photograph_files import (
    HEIGHT,
    WIDTH,
    annotation,
    change_set,
    rectangle,
    sample_image,
    write_set,
)
from training.errors import TrainingError
from training.real.annotation_table import Annotation
from training.real.coco_layout import SPLITS
from training.real.photograph_masks import decode_mask
from training.real.photograph_sets import PhotographSet

CAT, DOG = rectangle(10, 20, 50, 60), rectangle(70, 5, 90, 80)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(
        tmp_path / "toys",
        [
            (sample_image(), [annotation(2, DOG), annotation(1, CAT, semantic=True)], {}),
            (
                sample_image(),
                [],
                {
                    "split": "val",
                    "labels": ["Fire_truck", "d700", "red", "sky", "vision:cat=0725"],
                },
            ),
            (
                sample_image(),
                [
                    {"category_id": 3, "bbox": [1, 2, 30, 40]},
                    annotation(1, CAT, iscrowd=1),
                ],
                {"split": "calibration"},
            ),
        ],
        categories=[
            "cat",
            "Dog",
            {"name": "region", "nameless": True},
            {"name": "sky", "isthing": 0},
        ],
        info={"terms": "CC0-1.0", "open": True, "complete": True, "source": "me"},
    )


def annotations(found: PhotographSet, image: int) -> list[Annotation]:
    return [found.table[int(number)] for number in found.table.numbers_of(image)]


def test_what_a_set_says_is_read(folder: Path) -> None:
    found = PhotographSet(folder)
    assert (found.name, found.terms, found.source) == ("toys", "CC0-1.0", "me")
    assert (found.open_terms, found.complete, len(found)) == (True, True, 3)
    assert [each.name for each in found.categories] == ["cat", "dog", "region", "sky"]
    assert [each.thing for each in found.categories] == [True, True, True, False]
    assert [each.nameless for each in found.categories] == [False, False, True, False]
    assert found.file_names == ["1.jpg", "2.jpg", "3.jpg"]
    assert found.path(1).read_bytes() == sample_image()
    assert found.sizes.tolist() == [[HEIGHT, WIDTH]] * 3
    assert [SPLITS[each] for each in found.splits] == ["train", "val", "calibration"]
    assert found.labels(1) == ("fire truck", "red", "sky")


def test_annotations_are_those_of_their_image(folder: Path) -> None:
    found = PhotographSet(folder)
    dog, cats = annotations(found, 0)
    assert (dog.category, dog.box.tolist(), dog.area_px) == (1, [70, 5, 90, 80], 1500)
    assert (dog.crowd, dog.semantic) == (False, False)
    assert (cats.category, cats.semantic) == (0, True)
    for one, mask in ((dog, DOG), (cats, CAT)):
        decoded = decode_mask(one.segmentation, height_px=HEIGHT, width_px=WIDTH)
        np.testing.assert_array_equal(decoded, mask)
    assert annotations(found, 1) == []
    box, crowd = annotations(found, 2)
    assert (box.segmentation, box.area_px) == (None, 1200)
    assert box.box.tolist() == [1, 2, 31, 42]
    assert crowd.crowd
    assert found.table.has_mask.tolist() == [True, True, False, True]
    assert found.table.promptable.tolist() == [True, False, False, False]


def test_a_complete_set_promises_what_is_absent(folder: Path) -> None:
    found = PhotographSet(folder)
    assert found.absent(0) == {"sky"}
    assert found.absent(1) == {"cat", "dog"}, "its label is of the whole image"
    assert found.absent(2) == {"dog", "sky"}
    assert found.exhaustive(0, 0)
    partial = PhotographSet(folder, complete=False)
    assert [partial.absent(each) for each in range(3)] == [frozenset()] * 3
    assert not partial.exhaustive(0, 0)


def test_lvis_promises_its_negatives_alone(tmp_path: Path) -> None:
    """Neither the categories that it is silent about, nor those that are not exhaustive."""
    lvis = {"neg_category_ids": [3], "not_exhaustive_category_ids": [2]}
    folder = write_set(
        tmp_path / "lvis",
        [
            (sample_image(), [annotation(1, CAT), annotation(2, DOG)], lvis),
            (sample_image(), [], {}),
        ],
        categories=["cat", "dog", "bow_(weapon)", "sky"],
    )
    found = PhotographSet(folder)
    assert found.absent(0) == {"bow (weapon)"}
    assert found.absent(1) == frozenset()
    assert [found.exhaustive(0, each) for each in (0, 1)] == [True, False]
    assert not found.exhaustive(1, 0)


def test_lvis_has_addresses_instead_of_file_names(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "lvis", [(sample_image(), [], {})])
    address = "http://images.cocodataset.org/val2017/1.jpg"
    image = {"id": 1, "coco_url": address, "height": HEIGHT, "width": WIDTH}
    change_set(folder, images=[image])
    assert PhotographSet(folder).file_names == ["1.jpg"]
    (folder / "images" / "val2017").mkdir()
    (folder / "images" / "1.jpg").rename(folder / "images" / "val2017" / "1.jpg")
    assert PhotographSet(folder).file_names == ["val2017/1.jpg"]


def test_coco_without_our_fields_is_taken_as_it_is(tmp_path: Path) -> None:
    """No terms: not open. Not complete unless told so. Splits go by a hash of the file's name."""
    folder = write_set(tmp_path / "coco", [(sample_image(), [], {})] * 150)
    images = [
        {"id": each, "file_name": f"{each}.jpg", "height": HEIGHT, "width": WIDTH}
        for each in range(1, 151)
    ]
    change_set(folder, images=images, info={"description": "COCO 2017 Dataset"})
    found = PhotographSet(folder)
    assert (found.open_terms, found.complete, found.terms) == (False, False, "")
    held_out = {SPLITS[code]: np.flatnonzero(found.splits == code) + 1 for code in (1, 2)}
    assert held_out["val"].tolist() == [130, 138]
    assert held_out["calibration"].tolist() == [15, 27, 51, 100, 107]
    told = PhotographSet(folder, complete=True, open_terms=True)
    assert (told.open_terms, told.complete) == (True, True)
    assert told.absent(0) == {"cat", "dog"}


def test_what_is_no_set_is_refused(folder: Path, tmp_path: Path) -> None:
    refused(lambda: PhotographSet(tmp_path / "none"), TrainingError, "there is no set none")
    (tmp_path / "empty").mkdir()
    refused(lambda: PhotographSet(tmp_path / "empty"), TrainingError, "empty", "instances")
    (folder / "images" / "2.jpg").unlink()
    told = ("toys", "1 of 3 images", "2.jpg")
    refused(lambda: PhotographSet(folder), TrainingError, *told)


IMAGE = {"id": 1, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{**annotation(1, CAT), "image_id": 9}]}, "of no image: 9"),
        ({"annotations": [{**annotation(8, CAT), "image_id": 1}]}, "of no category: 8"),
        ({"annotations": [{"image_id": 1, "category_id": 1}]}, "KeyError: 'bbox'"),
        ({"images": [{"id": 1, "file_name": "1.jpg"}]}, "KeyError: 'height'"),
        ({"images": [{**IMAGE, "split": "test"}]}, "'test' is none of train, val, calibration"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, changes: dict[str, object], message: str) -> None:
    change_set(folder, **changes)
    refused(lambda: PhotographSet(folder), TrainingError, message, "instances.json")


@pytest.mark.parametrize("content", ["[1, 2]", "{", "{}", '{"images": []}', "\\udcff"])
def test_what_is_no_set_is_named(folder: Path, content: str) -> None:
    (folder / "instances.json").write_bytes(content.encode(errors="surrogateescape"))
    refused(lambda: PhotographSet(folder), TrainingError, "instances.json")
