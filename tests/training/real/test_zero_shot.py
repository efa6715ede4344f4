from __future__ import annotations

from pathlib import Path

import pytest
from open_clip import IMAGENET_CLASSNAMES
from PIL import Image

from training.errors import TrainingError
from training.real.zero_shot import LabelledImages

COLOURS = {"green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (40, 20), colour).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_an_image_goes_with_its_folders_name(folder: Path) -> None:
    images = LabelledImages(folder, resolution=64, batch=8)
    assert images.classes == ["green", "red"]
    batch = images[0]
    assert batch["nouns"].sum(dim=1).tolist() == [1] * 8
    for image, noun in zip(batch["images"], batch["nouns"], strict=True):
        name = images.classes[int(noun.nonzero())]
        assert tuple(image[:, 16, 32].tolist()) == COLOURS[name]
    # 40 x 20 is letterboxed: the lower half is padding.
    assert batch["token_mask"].tolist() == [[[1] * 4, [1] * 4, [0] * 4, [0] * 4]] * 8
    assert {int(noun.nonzero()) for noun in batch["nouns"]} == {0, 1}


def test_a_batch_depends_on_its_index(folder: Path) -> None:
    one, same = (LabelledImages(folder, resolution=64, batch=8) for _ in range(2))
    assert (one[3]["nouns"] == same[3]["nouns"]).all()
    assert any((one[0]["nouns"] != one[index]["nouns"]).any() for index in (1, 2, 3))


def test_a_thousand_classes_are_imagenets(tmp_path: Path) -> None:
    for index in range(1000):
        (tmp_path / f"n{index:08}").mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / f"n{index:08}" / "a.png")
    found = LabelledImages(tmp_path, resolution=64, batch=1)
    assert found.classes == list(IMAGENET_CLASSNAMES)


def test_no_folder_of_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no folder of classes"):
        LabelledImages(tmp_path, resolution=64, batch=1)
