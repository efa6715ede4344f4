"""SA-Co/Gold in miniature, and its figures by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from benchmarks.metrics.cgf1 import Datum, cgf1, judge
from benchmarks.public.saco import measure_phrases, read_saco
from tests.benchmarks.measured import measure
from tests.benchmarks.public.miniatures import gold, square
from tests.fake_source import fake_client

NONE = np.zeros(10, np.int64)


def test_instances_are_matched_one_to_one_by_the_greatest_sum() -> None:
    """Two masks overlap one object: it is found once, and at IoUs up to that of the better."""
    datum = judge([square(0, 2), square(0, 1)], [[square(0, 0)]])
    assert (datum.there, datum.found) == (1, 2)
    assert datum.matches.tolist() == [1] * 7 + [0] * 3  # 90 of 110: .818
    assert judge([], [[]]).f1 == 1
    assert judge([], [[square(0, 0)]]).f1 == 0


def test_of_three_annotators_the_one_who_agrees_best_counts() -> None:
    annotators = [[square(20, 20)], [square(0, 0)], [square(0, 0), square(20, 20)]]
    assert judge([square(0, 0)], annotators).matches.tolist() == [1] * 10


def test_the_figures_by_hand() -> None:
    """Four phrases: found; half found, with one too many; missed; absent, and not found.

    IL_MCC of 2 hits, 1 miss and 1 right silence: 2 / sqrt(2 * 3 * 1 * 2). The masks: 2 hits, a
    false one, and 1 + 2 misses, so F1 is 2 * 2 / (2 * 2 + 1 + 3).
    """
    data = [
        Datum(1, 1, NONE + 1),
        Datum(2, 2, NONE + 1),
        Datum(2, 0, NONE),
        Datum(0, 0, NONE),
    ]
    found = cgf1(data)
    assert found["il_mcc"] == pytest.approx(2 / 12**0.5, abs=1e-5)
    assert found["pmf1"] == pytest.approx(0.5, abs=1e-3)
    assert found["cgf1"] == pytest.approx(100 * 0.5 * 2 / 12**0.5, abs=0.1)
    assert found["cgf1"] == pytest.approx(100 * found["pmf1"] * found["il_mcc"])
    assert found["il_fpr"] == 0
    # A mask of what is not there costs the gate, and not the masks' F1.
    worse = cgf1([*data[:3], Datum(0, 1, NONE)])
    assert worse["pmf1"] == found["pmf1"]
    assert (worse["il_fpr"], worse["il_mcc"] < 0) == (pytest.approx(1), True)


def test_the_layout_of_gold(tmp_path: Path) -> None:
    data = read_saco(gold(tmp_path))
    assert [(number, path.name, phrase) for number, path, phrase in data.images] == [
        (1, "sa_1.jpg", "dog"),
        (2, "sa_1.jpg", "zebra"),
    ]
    first, second = data.truths
    (mask,) = first[1]
    assert int(coco_masks.area(mask)) == 100
    assert not second


def test_a_model_is_asked_phrase_by_phrase(tmp_path: Path) -> None:
    """The fake knows a dog and no zebra; its image is encoded once for both phrases."""
    model, source = fake_client(tmp_path)
    data = read_saco(gold(tmp_path / "gold"))
    found = measure(measure_phrases, model, data, name="sa-co", threshold=0.5)
    assert found.rows["sa-co", "", "cgf1"].n == 2
    assert source.runs("image_encoder@64") == 1
    missed = measure(measure_phrases, model, data, name="sa-co", threshold=0.5, min_score=1.0)
    assert (missed.value("sa-co", "pmf1"), missed.value("sa-co", "il_mcc")) == (0, 0)
