"""Every result as supervision's detections: what they hold, and that its tools take them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import supervision

from samclip_sdk.results.instances import Instances
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.results.tracked import TrackedInstances
from tests.results.test_results import (
    PICTURE,
    classification,
    instances,
    masks,
    nameless,
    text_masks,
)

pytestmark = pytest.mark.other_runtime


def tracked() -> TrackedInstances:
    """As `stream` answers for a frame."""
    own = {each.name: getattr(instances(), each.name) for each in dataclasses.fields(Instances)}
    return TrackedInstances(
        **own, ids=np.array([4, 7, 2]), frame_index=3, frame_name="3", encoded=True
    )


def no_label() -> TextMasks:
    """As `segment_text` answers if nothing that was asked is there."""
    return text_masks()[[]]


def no_object() -> Instances:
    """As `segment_instances` answers if nothing that was asked is there."""
    return instances()[[]]


MASKS = [masks, text_masks, instances, nameless, tracked, no_label, no_object]


def test_masks_of_prompts() -> None:
    found = masks().to_supervision()
    assert found.xyxy.tolist() == masks().boxes.tolist()
    assert found.class_id.tolist() == found.data["prompt_index"].tolist() == [0, 1, 1]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.8, 0.1])
    np.testing.assert_array_equal(found.mask, masks().masks)


def test_masks_of_labels_are_of_those_present() -> None:
    found = text_masks().to_supervision()
    assert found.xyxy.tolist() == [[30, 10, 50, 20], [0, 30, 80, 60]]
    assert found.class_id.tolist() == [1, 3]
    assert found.data["class_name"].tolist() == ["dog", "grass"]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7])
    np.testing.assert_array_equal(found.mask, text_masks().masks)


def test_objects() -> None:
    found = instances().to_supervision()
    assert found.class_id.tolist() == [1, 4, 1]
    assert found.data["class_name"].tolist() == ["dog", "grass", "dog"]
    assert found.confidence.tolist() == pytest.approx([0.5, 0.4, 0.25])
    assert found.tracker_id is None
    np.testing.assert_array_equal(found.mask, instances().masks)


def test_objects_without_labels_are_a_class_each() -> None:
    found = nameless().to_supervision()
    assert found.class_id.tolist() == [0, 1, 2]
    assert found.data["class_name"].tolist() == ["", "", ""]


def test_objects_of_a_frame_keep_their_ids() -> None:
    found = tracked().to_supervision()
    assert found.tracker_id.tolist() == [4, 7, 2]
    assert found.class_id.tolist() == [1, 4, 1]


def test_a_classification_is_told_best_first() -> None:
    found = classification().to_supervision()
    assert found.class_id.tolist() == [1, 2, 0]
    assert found.confidence.tolist() == sorted(classification().probs.tolist(), reverse=True)


@pytest.mark.parametrize("make", MASKS)
@pytest.mark.parametrize(
    "annotator",
    [
        supervision.MaskAnnotator(),
        supervision.BoxAnnotator(),
        supervision.PolygonAnnotator(),
        supervision.LabelAnnotator(),
    ],
)
def test_annotators_draw_them_as_they_come(make: Any, annotator: Any) -> None:
    found = make().to_supervision()
    drawn = annotator.annotate(PICTURE.copy(), found)
    assert (drawn != PICTURE).any() == bool(len(found))


@pytest.mark.parametrize("make", MASKS)
def test_they_can_be_filtered_suppressed_and_changed(make: Any) -> None:
    result = make()
    found = result.to_supervision()
    assert len(found.with_nms()) <= len(found)
    assert len(found[found.confidence > 0.3]) == int((found.confidence > 0.3).sum())
    for array in (found.xyxy, found.confidence, found.class_id, found.mask):
        array += 1 if array.dtype != bool else True
    assert result.to_supervision() != found or not len(found)


@pytest.mark.parametrize(("one", "other"), [(text_masks, no_label), (instances, no_object)])
def test_results_of_many_pictures_are_merged(one: Any, other: Any) -> None:
    both = [one().to_supervision(), other().to_supervision()]
    for order in (both, both[::-1]):
        merged = supervision.Detections.merge(order)
        assert merged.data["class_name"].tolist() == both[0].data["class_name"].tolist()
        assert merged.data["class_name"].dtype.kind == "U"
    assert other().to_supervision().data["class_name"].dtype.kind == "U"


def test_traces_follow_the_ids_of_a_film() -> None:
    trace = supervision.TraceAnnotator()
    moved = dataclasses.replace(tracked(), boxes=tracked().boxes + np.float32(9))
    trace.annotate(PICTURE.copy(), tracked().to_supervision())
    drawn = trace.annotate(PICTURE.copy(), moved.to_supervision())
    assert (drawn != PICTURE).any()
