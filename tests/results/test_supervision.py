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
    IMAGE,
    classification,
    instances,
    masks,
    nameless,
    text_masks,
)


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


@pytest.mark.parametrize(
    ("make", "class_id", "names", "ids"),
    [
        (masks, [0, 1, 1], None, None),
        (text_masks, [1, 3], ["dog", "grass"], None),
        (instances, [1, 4, 1], ["dog", "grass", "dog"], None),
        (nameless, [0, 1, 2], [""] * 3, None),  # without labels, a class each
        (tracked, [1, 4, 1], ["dog", "grass", "dog"], [4, 7, 2]),
    ],
)
def test_what_detections_hold(
    make: Any, class_id: list[int], names: list[str] | None, ids: list[int] | None
) -> None:
    result, found = make(), make().to_supervision()
    assert found.class_id.tolist() == class_id
    assert found.xyxy.tolist() == result.xyxy.tolist()
    np.testing.assert_array_equal(found.mask, result.masks)
    sure = result.presence if make is text_masks else result.scores
    assert found.confidence.tolist() == pytest.approx(sure.tolist())
    if names is None:
        assert found.data["prompt_index"].tolist() == class_id
    else:
        assert found.data["class_name"].tolist() == names
    assert (found.tracker_id if ids is None else found.tracker_id.tolist()) == ids


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
    drawn = annotator.annotate(IMAGE.copy(), found)
    assert (drawn != IMAGE).any() == bool(len(found))


@pytest.mark.parametrize(("one", "other"), [(text_masks, no_label), (instances, no_object)])
def test_results_of_many_images_are_merged(one: Any, other: Any) -> None:
    both = [one().to_supervision(), other().to_supervision()]
    for order in (both, both[::-1]):
        merged = supervision.Detections.merge(order)
        assert merged.data["class_name"].tolist() == both[0].data["class_name"].tolist()
        assert merged.data["class_name"].dtype.kind == "U"
    assert other().to_supervision().data["class_name"].dtype.kind == "U"
