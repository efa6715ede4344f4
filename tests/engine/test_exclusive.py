"""Labels that compete: by property on drawn masks, and on a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk import PromptError, SamClip
from samclip_sdk.engine.exclusive import settle
from samclip_sdk.image.packed_masks import PackedMask
from tests.command import answer
from tests.refusals import refused

DOG = Path(__file__).parents[2] / "examples" / "images" / "dog.jpg"
SIZE = (20, 30)
LOOKALIKES = ["dog", "cat", "fox", "horse", "boat"]


def box(top: int, left: int, bottom: int, right: int) -> PackedMask:
    return PackedMask.pack(np.ones((bottom - top, right - left), bool), top=top, left=left)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_pixel_has_two_labels(data: st.DataObject) -> None:
    rows, columns = st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1)
    count = data.draw(st.integers(0, 6))
    masks, labels, odds = [], [], []
    for _ in range(count):
        top, left = data.draw(rows), data.draw(columns)
        bottom = data.draw(st.integers(top + 1, SIZE[0]))
        masks.append(box(top, left, bottom, data.draw(st.integers(left + 1, SIZE[1]))))
        labels.append(data.draw(st.sampled_from("abc")))
        odds.append(data.draw(st.sampled_from([0.1, 0.5, 0.9])))
    kept = settle(masks, labels=labels, likelihoods=np.array(odds, np.float32))
    owners = np.zeros((3, *SIZE), bool)
    for index, left in kept.items():
        canvas = np.zeros(SIZE, bool)
        left.draw(canvas)
        before = np.zeros(SIZE, bool)
        masks[index].draw(before)
        assert (canvas <= before).all()
        assert canvas.any()
        owners["abc".index(labels[index])] |= canvas
    assert owners.sum(axis=0).max(initial=0) <= 1
    if count:
        assert next(iter(kept)) == int(np.argmax(odds)), "the likeliest stays"


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load("onnx", threads=1)


def test_of_texts_and_of_objects(model: SamClip) -> None:
    every = model.segment_text(DOG, LOOKALIKES, threshold=0.2)
    found = model.segment_text(DOG, LOOKALIKES, threshold=0.2, exclusive=True)
    assert every.masks.sum(axis=0).max() > 1, "look-alikes of the dog"
    assert found.mask("dog").sum() == every.mask("dog").sum()
    assert found.masks.sum(axis=0).max() <= 1
    for index, mask in zip(found.label_index, found.masks, strict=True):
        np.testing.assert_array_equal(found.class_map == index, mask)
    np.testing.assert_array_equal(found.asked.presence, every.asked.presence)
    tiled = model.segment_text(DOG, LOOKALIKES, threshold=0.2, exclusive=True, tiles=(1, 2))
    assert tiled.masks.sum(axis=0).max() <= 1
    objects = model.segment_instances(DOG, LOOKALIKES, threshold=0.2, exclusive=True)
    for first in objects:
        others = [each.mask for each in objects if each.label != first.label]
        assert not any((first.mask & other).any() for other in others)


def test_objects_below_the_least_score_are_not_told(model: SamClip) -> None:
    every = model.segment_instances(DOG, LOOKALIKES, threshold=0.2, min_score=0)
    minimum = float(np.median(every.scores)) - 1e-6
    sure = model.segment_instances(DOG, LOOKALIKES, threshold=0.2, min_score=minimum)
    assert sure.scores.tolist() == [each for each in every.scores.tolist() if each >= minimum]
    (frame,) = model.stream([DOG], LOOKALIKES, threshold=0.2, min_score=minimum)
    assert 0 < len(frame) <= len(sure)
    refused(lambda: model.segment_instances(DOG, ["dog"], min_score=2), PromptError, "min_score")
    refused(lambda: model.segment_text(DOG, ["dog"], exclusive=1), PromptError, "exclusive")


def test_on_the_command_line() -> None:
    asked = (DOG, *LOOKALIKES, "--threshold", "0.2", "--runtime", "onnx")
    areas = [
        sum(each["area"] for each in answer("text", *asked, *more)["annotations"])
        for more in ((), ("--exclusive",))
    ]
    assert areas[0] > areas[1]
    assert answer("instances", *asked, "--exclusive", "--min-score", "1")["annotations"] == []
