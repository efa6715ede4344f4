"""Objects by names: COCO, LVIS and photographs in miniature, judged by the sets' evaluators."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper import text_to_mask
from benchmarks.paper.record import Everything
from benchmarks.paper.text_to_mask import OwnClip, TwoModels, by_two_models
from benchmarks.public.detection import (
    AskedPictures,
    Found,
    by_one_model,
    measure_detection,
    measure_methods,
    read_coco,
    read_lvis,
    read_photographs,
)
from benchmarks.public.files import DatasetError, take
from benchmarks.public.record import Detections
from tests.benchmarks.public.test_instances import coco
from tests.fake_source import fake_client
from tests.training.photograph_files import annotation, picture, rectangle, write_set

VAL = {"split": "val"}


def dog_of(pixels: np.ndarray, *, beside: int = 0) -> np.ndarray:
    """The mask of the dog in the miniature of COCO, moved to the right."""
    mask = np.zeros(pixels.shape[:2], bool)
    mask[2:42, 2 + beside : 42 + beside] = True
    return mask


def measure(
    data: AskedPictures, detect: Callable[[np.ndarray, Sequence[str]], list[Found]]
) -> Detections:
    return measure_detection(detect, data, method="one_model", resolution_px=64, threshold=None)


def test_coco(tmp_path: Path) -> None:
    """By hand: the first dog exact, the second 20 pixels beside, an IoU of a third.

    Precision is 1 up to a recall of a half, the first 51 of 101 points, and 0 after.
    """
    data = read_coco(coco(tmp_path))
    turn = iter(range(2))

    def detect(pixels: np.ndarray, asked: Sequence[str]) -> list[Found]:
        assert asked == ["cat", "dog"]
        number = next(turn)
        return [(1, 0.9 - 0.1 * number, dog_of(pixels, beside=20 * number))]

    found = measure(data, detect)
    assert (found.pictures, found.categories, found.found) == (2, 2, 2)
    for kind in (found.masks, found.boxes):
        assert kind.ap == kind.ap50 == kind.ap75 == kind.ap_medium == pytest.approx(51 / 101)
        assert (kind.ap_small, kind.ap_large, kind.ap_rare) == (None, None, None)


def test_masks_and_boxes_are_judged_apart(tmp_path: Path) -> None:
    """A frame around the dog has its box and a fifth of its pixels."""
    data = read_coco(coco(tmp_path))

    def detect(pixels: np.ndarray, asked: Sequence[str]) -> list[Found]:
        mask = dog_of(pixels)
        mask[4:40, 4:40] = False
        return [(1, 0.9, mask)]

    found = measure(data, detect)
    assert (found.masks.ap50, found.boxes.ap) == (0, pytest.approx(1))


def test_another_name_is_another_thing(tmp_path: Path) -> None:
    data = read_coco(coco(tmp_path))
    assert measure(data, lambda pixels, asked: [(0, 0.9, dog_of(pixels))]).masks.ap == 0
    first = take(data, limit=1, source=tmp_path)
    found = measure(first, lambda pixels, asked: [(1, 0.9, dog_of(pixels))])
    assert found.masks.ap == pytest.approx(1)


def test_lvis(tmp_path: Path) -> None:
    pytest.importorskip("lvis", reason="`make` installs it on its own, see the Makefile")
    data = read_lvis(coco(tmp_path, name="lvis_v1_val.json", frequency="r"))
    found = measure(data, lambda pixels, asked: [(1, 0.9, dog_of(pixels))])
    assert data.most == 300
    for kind in (found.masks, found.boxes):
        assert kind.ap == kind.ap_rare == pytest.approx(1)
        assert kind.ap_common is None


def test_two_categories_of_one_name_are_refused(tmp_path: Path) -> None:
    path = coco(tmp_path) / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"dog"', '"cat"'))
    with pytest.raises(DatasetError, match="no labels, an empty one, or one twice"):
        read_coco(tmp_path)


def test_nothing_found_is_no_figure(tmp_path: Path) -> None:
    data = read_coco(coco(tmp_path))
    with pytest.raises(DatasetError, match="one model found nothing in 2 pictures: try a lower"):
        measure(data, lambda pixels, asked: [])


def sets(root: Path) -> Path:
    """Dogs and grass in a set; a set with boxes alone, one of no things, and one for training."""
    dog, crowd = rectangle(0, 0, 64, 64), rectangle(70, 0, 120, 40)
    annotations = [annotation(1, dog), annotation(1, crowd, iscrowd=1), annotation(2, crowd)]
    things = ["dog", {"name": "grass", "isthing": 0}, "cat", {"name": "x", "nameless": True}]
    complete = {"complete": True}
    rows = [(picture(), annotations, VAL), (picture(), annotations[:1], {"split": "calibration"})]
    write_set(root / "a", rows, categories=things, info=complete)
    box = annotation(1, dog)
    del box["segmentation"]
    write_set(root / "b", [(picture(), [box], VAL)], categories=["dog"])
    write_set(root / "c", [(picture(), annotations[2:], VAL)], categories=things[:2])
    write_set(root / "d", [(picture(), annotations[:1], {"split": "train"})], categories=["emu"])
    return root


def test_the_things_of_photographs(tmp_path: Path) -> None:
    """Grass is no thing, a crowd counts neither way, and a set without masks is left out."""
    data = read_photographs(sets(tmp_path))
    ((_, _, asked),) = [each for each in data.pictures if each[1].parts[-3] == "a"]
    assert [data.names[each] for each in asked] == ["cat", "dog"]
    assert "b" not in {each[1].parts[-3] for each in data.pictures}
    dog, crowd = rectangle(0, 0, 64, 64), rectangle(70, 0, 120, 40)

    def detect(pixels: np.ndarray, names: Sequence[str]) -> list[Found]:
        if "cat" not in names:
            return []
        return [(1, 0.9, crowd), (1, 0.8, dog)]

    found = measure(data, detect)
    assert found.masks.ap == found.boxes.ap == pytest.approx(1)
    assert json.dumps(data.truth)


def test_photographs_without_masks_are_refused(tmp_path: Path) -> None:
    box = annotation(1, rectangle(0, 0, 64, 64))
    del box["segmentation"]
    write_set(tmp_path / "b", [(picture(), [box], VAL)])
    with pytest.raises(
        DatasetError, match=r"no set below .* has a name and a mask for every thing"
    ):
        read_photographs(tmp_path)


def test_a_model_is_asked_for_its_objects(tmp_path: Path) -> None:
    """The fake's dog is in the first two of four rows and columns of every picture."""
    model, source = fake_client(tmp_path)
    detect = by_one_model(model, ["zebra", "dog", "cat"], most=5, threshold=0.5)
    texts = source.runs("text_encoder")
    pixels = np.zeros((96, 128, 3), np.uint8)
    expected = model.segment_instances(pixels, ["dog", "cat"], max_instances=5)
    found = detect(pixels, ["dog", "cat"])
    assert [place for place, _, _ in found] == expected.label_index.tolist()
    assert [score for _, score, _ in found] == expected.scores.tolist()
    np.testing.assert_array_equal([mask for _, _, mask in found], expected.masks)
    assert source.runs("text_encoder") == texts


def test_two_models_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's CLIP sees a dog in every crop: each of its masks is one, the surest first."""
    few = Everything(points_per_side=3)
    monkeypatch.setattr(text_to_mask, "TwoModels", partial(TwoModels, settings=few))
    model, source = fake_client(tmp_path)
    root = sets(tmp_path / "sets")
    rival = by_two_models(model, root, names=["dog", "cat"], teachers=None, most=4)
    found = rival(np.zeros((96, 128, 3), np.uint8), ["cat", "dog"])
    assert [place for place, _, _ in found] == [1] * 4
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] < 0.91  # the fake predicts an IoU of 0.9 at most
    assert OwnClip(model).embed_dim == source.manifest.model.embed_dim
    one, two = measure_methods(model, read_photographs(root), threshold=None, rival=rival)
    assert (one.method, one.presence_threshold) == ("one_model", 0.5)
    assert (two.method, two.presence_threshold) == ("two_models", None)
    assert 0 < two.found <= 8
