"""Objects of COCO, LVIS and photographs in miniature: by names, and from a detector's boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.public.detection import (
    DetectedImages,
    measure_detection,
    measure_instances,
    read_coco,
    read_lvis,
    read_photographs,
)
from benchmarks.public.files import DatasetError, take
from benchmarks.quality.photographs import tuning_images
from benchmarks.table import Part
from benchmarks.two_models import Detect, Found, OwnClip, by_two_models
from tests.benchmarks.measured import measure as measured
from tests.benchmarks.public.miniatures import DETECTIONS, coco, detected
from tests.benchmarks.public.painted import Painted
from tests.fake_source import fake_client
from tests.refusals import refused
from tests.training.photograph_files import annotation, rectangle, sample_image, write_set

VAL = {"split": "val"}
LVIS = {"name": "lvis_v1_val.json", "frequency": "r"}


def dog_of(pixels: np.ndarray, *, beside: int = 0) -> np.ndarray:
    """The mask of the dog, moved to the right."""
    mask = np.zeros(pixels.shape[:2], bool)
    mask[2:42, 2 + beside : 42 + beside] = True
    return mask


def found_by(data: DetectedImages, detect: Detect) -> Part:
    return measured(measure_detection, detect, data, subject="s")


def test_objects_of_coco_by_hand(tmp_path: Path) -> None:
    """The first dog is exact, the second 20 pixels beside, an IoU of a third.

    Precision is 1 up to a recall of a half, the first 51 of 101 points, and 0 after.
    """
    data = read_coco(coco(tmp_path))
    turn = iter(range(2))

    def detect(pixels: np.ndarray, asked: Sequence[str]) -> list[Found]:
        assert asked == ["cat", "dog"]
        number = next(turn)
        return [(1, 0.9 - 0.1 * number, dog_of(pixels, beside=20 * number))]

    found = found_by(data, detect)
    assert (found.value("s", "categories"), found.value("s", "found")) == (2, 2)
    for kind in ("masks", "boxes"):
        for name in ("ap", "ap50", "ap75", "ap_medium"):
            assert found.value("s", name, kind) == pytest.approx(51 / 101), name
        assert found.get("s", "ap_small", kind) is None


def test_masks_boxes_and_names_are_judged_apart(tmp_path: Path) -> None:
    """A frame around the dog has its box and a fifth of its pixels."""
    data = read_coco(coco(tmp_path))

    def detect(pixels: np.ndarray, asked: Sequence[str]) -> list[Found]:
        mask = dog_of(pixels)
        mask[4:40, 4:40] = False
        return [(1, 0.9, mask)]

    found = found_by(data, detect)
    assert (found.value("s", "ap50", "masks"), found.value("s", "ap", "boxes")) == (0, 1)
    refused(lambda: found_by(data, lambda pixels, asked: []), DatasetError, "--presence-threshold")


def test_lvis(tmp_path: Path) -> None:
    """All of its two rare categories' objects are found; of a detector's boxes one is right."""
    data = read_lvis(coco(tmp_path, **LVIS))
    found = found_by(data, lambda pixels, asked: [(1, 0.9, dog_of(pixels))])
    for kind in ("masks", "boxes"):
        assert found.value("s", "ap", kind) == pytest.approx(1)
        assert found.value("s", "ap_rare", kind) == pytest.approx(1)
        assert found.get("s", "ap_common", kind) is None
    found = segmented(read_lvis(tmp_path, boxes=detected(tmp_path)))
    for name in ("ap", "ap50", "ap_rare"):
        assert found.value("s", name) == pytest.approx(51 / 101), name


def segmented(data: DetectedImages) -> Part:
    model = Painted()
    found = measured(measure_instances, model, data, subject="s")
    assert model.refined == found.value("s", "boxes"), "the surest mask came back with each box"
    return found


def test_boxes_of_a_detector_by_hand(tmp_path: Path) -> None:
    """Of two dogs the surer box is exact, the other one beside the dog.

    A box outside of the image is left out and told.
    """
    read = partial(read_coco, coco(tmp_path))
    data = read(boxes=detected(tmp_path))
    found = segmented(data)
    assert found.value("s", "ap") == found.value("s", "ap_medium") == pytest.approx(51 / 101)
    assert segmented(take(data, limit=1, source=tmp_path)).value("s", "ap") == pytest.approx(1)
    gone = [DETECTIONS[0] | {"bbox": each} for each in ([64, 0, 9, 9], [5, 5, 0, 9])]
    cut = DETECTIONS[0] | {"bbox": [-3, 5, 100, 10], "score": 0.1}
    found = segmented(read(boxes=detected(tmp_path, [*DETECTIONS, *gone, cut])))
    assert (found.value("s", "boxes"), found.value("s", "left_out")) == (3, 2)
    refused(lambda: segmented(read(boxes=detected(tmp_path, gone))), DatasetError, "no usable box")
    # More than are asked at once.
    found = segmented(read(boxes=detected(tmp_path, [DETECTIONS[0]] * 70)))
    assert found.value("s", "boxes") == 70


def sets(root: Path) -> Path:
    """Dogs and grass in a set; a set with boxes alone, one of no things, and one for training."""
    dog, crowd = rectangle(0, 0, 64, 64), rectangle(70, 0, 120, 40)
    annotations = [annotation(1, dog), annotation(1, crowd, iscrowd=1), annotation(2, crowd)]
    things = ["dog", {"name": "grass", "isthing": 0}, "cat", {"name": "x", "nameless": True}]
    complete = {"complete": True}
    rows = [
        (sample_image(), annotations, VAL),
        (sample_image(), annotations[:1], {"split": "calibration"}),
    ]
    write_set(root / "a", rows, categories=things, info=complete)
    box = annotation(1, dog)
    del box["segmentation"]
    write_set(root / "b", [(sample_image(), [box], VAL)], categories=["dog"])
    write_set(root / "c", [(sample_image(), annotations[2:], VAL)], categories=things[:2])
    write_set(
        root / "d", [(sample_image(), annotations[:1], {"split": "train"})], categories=["emu"]
    )
    return root


def test_the_things_of_photographs(tmp_path: Path) -> None:
    """Grass is no thing, a crowd counts neither way, and a set without masks is left out."""
    data = read_photographs(sets(tmp_path))
    ((_, _, asked),) = [each for each in data.images if each[1].parts[-3] == "a"]
    assert [data.names[each] for each in asked] == ["cat", "dog"]
    assert "b" not in {each[1].parts[-3] for each in data.images}
    dog, crowd = rectangle(0, 0, 64, 64), rectangle(70, 0, 120, 40)

    def detect(pixels: np.ndarray, names: Sequence[str]) -> list[Found]:
        return [(1, 0.9, crowd), (1, 0.8, dog)] if "cat" in names else []

    found = found_by(data, detect)
    for kind in ("masks", "boxes"):
        assert found.value("s", "ap", kind) == pytest.approx(1)


@pytest.mark.slow
def test_two_models_in_a_row(tmp_path: Path) -> None:
    """The fake's CLIP sees a dog in every crop: each of its masks is one, the surest first."""
    model, source = fake_client(tmp_path)
    root = sets(tmp_path / "sets")
    tuning = tuning_images(root, seed=0)
    rival = by_two_models(model, tuning, names=["dog", "cat"], run=None, maximum=4)
    found = rival(np.zeros((96, 128, 3), np.uint8), ["cat", "dog"])
    assert [index for index, _, _ in found] == [1] * 4
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] < 0.91  # the fake predicts an IoU of 0.9 at most
    assert OwnClip(model).embed_dim == source.manifest.model.embed_dim
