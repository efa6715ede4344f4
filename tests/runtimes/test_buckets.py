"""Cutting, padding and trimming never show in an answer, whatever the buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import PromptError
from samclip_sdk.image.model_prompts import FILLER
from samclip_sdk.runtimes.buckets import Buckets
from samclip_sdk.runtimes.session import Arrays

SPEC = GraphSpec(
    inputs=(
        TensorSpec(name="image", dtype="float32", shape=(1, 2)),
        TensorSpec(name="point_coords", dtype="float32", shape=("num_prompts", "num_points", 2)),
        TensorSpec(name="point_labels", dtype="int32", shape=("num_prompts", "num_points")),
    ),
    outputs=(
        TensorSpec(name="sums", dtype="float32", shape=("num_prompts", 2)),
        TensorSpec(name="points", dtype="float32", shape=("num_prompts", "num_points", 2)),
    ),
)
FIXED = GraphSpec(
    inputs=(TensorSpec(name="size", dtype="float32", shape=("height", 2)),),
    outputs=(TensorSpec(name="twice", dtype="float32", shape=(1, 2)),),
)


def compute(feed: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """As a prompt encoder: a point of label FILLER counts for nothing, every other one does."""
    counted = (feed["point_coords"] + 1) * (feed["point_labels"] != FILLER)[..., None]
    return {"sums": counted.sum(axis=1) + feed["image"], "points": counted}


def prompts(count: int, points: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(100 * count + points)
    return {
        "image": rng.integers(0, 9, (1, 2)).astype(np.float32),
        "point_coords": rng.integers(0, 99, (count, points, 2)).astype(np.float32),
        "point_labels": rng.integers(FILLER, 4, (count, points)).astype(np.int32),
    }


def axes(count: int, points: int) -> dict[str, int]:
    return {"num_prompts": count, "num_points": points}


LENGTHS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=4)


@settings(max_examples=200)
@given(lengths=LENGTHS, count=st.integers(0, 30), points=st.integers(1, 6))
def test_an_answer_does_not_depend_on_the_buckets(
    lengths: list[tuple[int, int]], count: int, points: int
) -> None:
    known = [*(axes(*each) for each in lengths), axes(2, 6)]
    feed = prompts(count, points)

    def call(bucket: int, padded: Arrays) -> Arrays:
        rows, wide = known[bucket]["num_prompts"], known[bucket]["num_points"]
        assert padded["image"].shape == (1, 2)
        assert padded["point_coords"].shape == (rows, wide, 2)
        assert padded["point_labels"].shape == (rows, wide)
        assert {each.dtype.name for each in padded.values()} == {"float32", "int32"}
        return compute(padded)

    buckets = Buckets(SPEC, lengths=known, where="this bundle")
    found = buckets.run(feed, axes=axes(count, points), call=call)
    for name, wanted in compute(feed).items():
        np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.parametrize(
    ("count", "rows"), [(0, [1]), (1, [1]), (2, [8]), (8, [8]), (9, [8, 1]), (19, [8, 8, 8])]
)
def test_a_tail_goes_into_the_smallest_bucket(count: int, rows: list[int]) -> None:
    known = [axes(8, 4), axes(1, 4)]  # in any order
    buckets = Buckets(SPEC, lengths=known, where="this bundle")
    calls = buckets.calls(prompts(count, 3), axes=axes(count, 3))
    assert [known[each.bucket]["num_prompts"] for each in calls] == rows


def test_an_axis_that_leads_no_output_is_not_cut() -> None:
    buckets = Buckets(FIXED, lengths=[{"height": 3}, {"height": 5}], where="this bundle")
    found = buckets.run(
        {"size": np.ones((4, 2), dtype=np.float32)},
        axes={"height": 4},
        call=lambda bucket, feed: {"twice": feed["size"].sum(axis=0, keepdims=True) + 10 * bucket},
    )
    np.testing.assert_array_equal(found["twice"], [[14, 14]])
    with pytest.raises(PromptError, match="height is 6, and this bundle takes at most 5"):
        list(buckets.calls({}, axes={"height": 6}))
