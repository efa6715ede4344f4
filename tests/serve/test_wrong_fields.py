"""What a wrong request is told: the field, its value, and what must stand there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from samclip_sdk.serve.schema import (
    ClassifyRequest,
    EverythingRequest,
    ImagesRequest,
    InstancesRequest,
    SegmentRequest,
    TextRequest,
)
from samclip_sdk.serve.wrong_fields import tell_wrong_field

KINDS = (ClassifyRequest, EverythingRequest, InstancesRequest, SegmentRequest, TextRequest)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["id", "base64", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
IMAGE = ("base64", "id", "/v1/images")


def told(kind: type[ImagesRequest], question: str) -> str:
    try:
        kind.model_validate_json(question)
    except ValidationError as error:
        return tell_wrong_field(error, of=kind)
    return ""


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        (TextRequest, {"labels": "dog"}, ('labels is "dog"', "a list", "nouns")),
        (TextRequest, {"labels": [1]}, ("labels.0 is 1", "a text")),
        (TextRequest, {"labels": []}, ("labels is []", "a list of 1 or more")),
        (TextRequest, {}, ("labels is missing", "nouns")),
        (TextRequest, {"labls": ["dog"]}, ("labls", "no", "labels, tiles")),
        (TextRequest, {"labels": ["a"], "threshold": "0.5"}, ('"0.5"', "a number", "presence")),
        (TextRequest, {"labels": ["a"], "threshold": 2}, ("threshold is 2", "1 or less")),
        (TextRequest, {"labels": ["a"], "refine": "yes"}, ('"yes"', "true or false")),
        (TextRequest, {"labels": ["a"], "format": "bmp"}, ('"bmp"', "'rle', 'polygon' or 'png'")),
        (TextRequest, {"labels": ["a"], "tiles": [2]}, ("tiles is [2]", "a list of 2 or more")),
        (EverythingRequest, {"points_per_side": 2.5}, ("2.5", "a whole number")),
        (SegmentRequest, {"images": "x"}, ('images is "x"', "a list", *IMAGE)),
        (SegmentRequest, {"images": ["x.jpg"]}, ('images.0 is "x.jpg"', "an object", *IMAGE)),
        (SegmentRequest, {"images": [{"path": "x"}]}, ("images.0.path", *IMAGE)),
        (SegmentRequest, {"images": [{"id": "x"}]}, ('images.0.id is "x"', "64 hex", *IMAGE)),
        (SegmentRequest, {"points": "1,2"}, ('points is "1,2"', "a list", "(x, y)")),
        (SegmentRequest, {"points": [1]}, ("points.0 is 1", "a list")),
        (SegmentRequest, {"points": [["a", 2]]}, ('points.0.0 is "a"', "a number")),
        (SegmentRequest, {"points": [[1, 2, 3]]}, ("points.0 is [1, 2, 3]", "2 or fewer")),
        (SegmentRequest, {"points": [[[1]]]}, ("points.0.0 is [1]", "2 or more")),
        (SegmentRequest, {"boxes": [1, 2]}, ("boxes is [1, 2]", "4 or more", "x0, y0, x1, y1")),
        (SegmentRequest, {"point_labels": [9]}, ("point_labels.0 is 9", "3 or less")),
    ],
)
def test_the_field_its_value_and_the_way_out(
    kind: type[ImagesRequest], asked: dict[str, Any], words: tuple[str, ...]
) -> None:
    found = told(kind, json.dumps(asked))
    for each in words:
        assert each in found, found


@pytest.mark.parametrize("question", ["[1]", "3", "{", "", '{"labels": NaN}', "[" * 1000])
def test_what_is_no_request(question: str) -> None:
    assert told(TextRequest, question)


def test_a_long_value_is_cut() -> None:
    assert len(told(TextRequest, json.dumps({"labels": "x" * 100_000}))) < 300
    assert len(told(TextRequest, json.dumps({"x" * 100_000: 1}))) < 300


@given(st.sampled_from(KINDS), st.data())
def test_any_wrong_value_is_told_in_one_line(
    kind: type[ImagesRequest], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(kind.model_fields)))
    found = told(kind, json.dumps({"labels": ["dog"], name: data.draw(VALUES)}))
    assert found == "" or found.isprintable()
    assert "[list" not in found
