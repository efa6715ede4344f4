"""Everything in an image: by hand, and against a source whose answers are known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import NamedMasks, SamClip
from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.engine.everything import GoodMask, distinct_good_masks
from samclip_sdk.image.packed_masks import PackedMask
from tests.fake_source import WHERE, fake_client, sample_image

LABELS = ["zebra", "dog", "cat"]
# The fake's tokens 1 to 3 predict 0.7, 0.8 and 0.9; its discs have edges that the offset moves.
ASKED: dict[str, Any] = {
    "points_per_side": 4,
    "pred_iou_thresh": 0.75,
    "stability_score_thresh": 0.5,
}


def test_without_labels_nothing_has_a_name(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    found = model.segment_everything(sample_image(), **ASKED)
    assert isinstance(found, NamedMasks)
    assert len(found) == 16
    assert set(found.labels) == {""}
    assert (found.label_index == -1).all()
    assert not found.label_scores.any()
    assert found.scores == pytest.approx(found.predicted_ious)
    assert found.scores == pytest.approx([0.9] * 16)
    assert all(item.area == mask.sum() for item, mask in zip(found, found.masks, strict=True))
    # A disc for each point of the grid; row by row, since all are equally good.
    assert found[0].mask[6, 12]
    assert found[15].mask[43, 87]
    assert not found[0].mask[:, 50:].any()
    assert "text_encoder" not in source.sessions
    assert "clip_head@64" not in source.sessions


def test_with_labels_each_has_the_best_one_that_fits(model: SamClip) -> None:
    found = model.segment_everything(sample_image(), LABELS, **ASKED)
    plain = model.segment_everything(sample_image(), **ASKED)
    np.testing.assert_array_equal(found.masks, plain.masks)
    np.testing.assert_array_equal(found.scores, plain.scores)
    rows, columns = WHERE["dog"]
    dog = found.masks[0]
    assert dog[: 25 * rows.stop, : 25 * columns.stop].any()
    assert (found[0].label, found.label_index[0]) == ("dog", 1)
    assert found[0].label_score > 0.9
    assert found[3].label == "cat"
    assert (found[15].label, found[15].label_score) == ("", 0), "there is nothing"
    minimum = model.manifest.calibration.presence_threshold
    for item in found:
        assert item.label in ("", *LABELS)
        assert (item.label_score >= minimum) == bool(item.label)


def test_a_name_is_the_same_whatever_else_is_asked(model: SamClip) -> None:
    every = model.segment_everything(sample_image(), LABELS, **ASKED)
    alone = model.segment_everything(sample_image(), "dog", **ASKED)
    dogs = [index for index, label in enumerate(every.labels) if label == "dog"]
    np.testing.assert_array_equal(alone.label_scores[dogs], every.label_scores[dogs])


def test_without_labels_things_are_called_by_the_models_own_nouns(tmp_path: Path) -> None:
    maker, _ = fake_client(tmp_path)
    maker.save_vocabulary(tmp_path / "nouns.safetensors", LABELS)
    model, source = fake_client(tmp_path)
    source.nouns_path = tmp_path / "nouns.safetensors"
    model.learn_label("dog", source.vector("cat"))  # What a user teaches, these do not know of.
    found = model.segment_everything(sample_image(), **ASKED)
    expected = maker.segment_everything(sample_image(), LABELS, **ASKED)
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.label_scores, expected.label_scores)
    assert set(model.segment_everything(sample_image(), ["zebra"], **ASKED).labels) <= {"", "zebra"}


def test_thresholds_that_nobody_gives_are_the_models_own(tmp_path: Path) -> None:
    """The fake's masks have a predicted IoU of 0.9 at most, and a stability of about 0.6."""
    model, source = fake_client(tmp_path)
    assert not len(model.segment_everything(sample_image(), points_per_side=4))
    own = {"pred_iou_thresh": 0.75, "stability_score_thresh": 0.5}
    calibration = source.manifest.calibration.model_copy(update=own)
    source.manifest = source.manifest.model_copy(update={"calibration": calibration})
    calibrated = SamClip(source)
    assert len(calibrated.segment_everything(sample_image(), points_per_side=4)) == 16
    given = {"points_per_side": 4, "pred_iou_thresh": 0.75, "stability_score_thresh": 0.99}
    assert not len(calibrated.segment_everything(sample_image(), **given))
    assert not len(
        calibrated.segment_everything(sample_image(), **ASKED | {"pred_iou_thresh": 0.95})
    )
    # Between equal thresholds a mask does not change.
    stable = calibrated.segment_everything(sample_image(), **given, stability_score_offset=0.0)
    assert stable.stability_scores.tolist() == [1] * 16


def test_a_stray_pixel_makes_no_second_object() -> None:
    plane = np.zeros((40, 60), dtype=bool)
    plane[10:20, 10:20] = True
    stray = plane.copy()
    stray[39, 59] = True
    found = [
        GoodMask(PackedMask.pack(mask), predicted_iou=score, stability_score=1.0, embedding=None)
        for mask, score in ((stray, 0.8), (plane, 0.9))
    ]
    (kept,) = distinct_good_masks(
        found,
        text=None,
        thresholds=np.zeros(0, dtype=np.float32),
        calibration=UNCALIBRATED,
        box_nms_thresh=0.7,
    )
    assert kept.mask is found[1].mask


def test_fewer_of_the_boxes_that_overlap(model: SamClip) -> None:
    counts = [
        len(
            model.segment_everything(
                sample_image(), **ASKED | {"points_per_side": 9, "box_nms_thresh": each}
            )
        )
        for each in (0, 0.3, 0.7, 1)
    ]
    assert counts[0] < counts[1] < counts[2] < counts[3] == 2 * 81


def test_memory_is_that_of_the_masks_that_stay(model: SamClip) -> None:
    image = sample_image(1500, 2000)
    tracemalloc.start()
    found = model.segment_everything(
        image, points_per_side=12, pred_iou_thresh=0.5, stability_score_thresh=0, box_nms_thresh=0.1
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 432 masks of 3 megapixels would take 1.3 GB as they are, their logits four times as much.
    assert peak < found.masks.nbytes + 80e6
