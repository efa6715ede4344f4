from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Calibration
from training.calibrate import (
    CALIBRATION_NAME,
    Answer,
    calibrate,
    choose_head_only,
    choose_presence,
    fit_scores,
)
from training.composed.corpus import Corpus
from training.composed.label_questions import ABSENT, pose_question
from training.composed.scenes import Scene


def peak(cosine: float, *, present: bool) -> Answer:
    """A map of 2x2 patches whose maximum is `cosine`."""
    cosines = np.full((2, 2), cosine - 0.5, np.float32)
    cosines[0, 0] = cosine
    return Answer(cosines, (cosines == cosine).astype(np.float32) * present)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_fit_recovers_a_known_logistic(share: float) -> None:
    """Two normals of one spread: the odds are logistic in the cosine, and know their shares."""
    rng = np.random.default_rng(0)
    covered = rng.random((100, 20, 20)) < share
    cosines = rng.normal(np.where(covered, 0.3, 0.1), 0.1).astype(np.float32)
    answers = [Answer(x, y.astype(np.float32)) for x, y in zip(cosines, covered, strict=True)]
    scale, bias = fit_scores(answers)
    assert scale == pytest.approx((0.3 - 0.1) / 0.1**2, rel=0.05)
    assert bias == pytest.approx(0.2 + math.log((1 - share) / share) / scale, abs=0.01)


def test_patches_covered_in_part_teach_nothing() -> None:
    rng = np.random.default_rng(0)
    covered = rng.random((10, 10)) < 0.5
    cosines = rng.normal(np.where(covered, 0.3, 0.1), 0.1).astype(np.float32)
    sure = Answer(cosines, covered.astype(np.float32))
    unsure = Answer(np.full((10, 10), 0.9, np.float32), np.full((10, 10), 0.3, np.float32))
    assert fit_scores([sure, unsure]) == pytest.approx(fit_scores([sure]))


def test_a_cosine_that_tells_nothing_keeps_a_valid_scale() -> None:
    backwards = [peak(0.4, present=False), peak(0.1, present=True)]
    scale, bias = fit_scores(backwards)
    assert scale > 0
    assert -1 <= bias <= 1


def test_presence_lets_the_present_in_and_the_absent_not() -> None:
    answers = [peak(x, present=True) for x in (0.4, 0.3, 0.25)]
    answers += [peak(x, present=False) for x in (0.2, 0.1, 0.05)]
    threshold = choose_presence(answers, scale=20.0, bias=0.2)
    assert threshold == pytest.approx(1 / (1 + np.exp(-20 * (0.25 - 0.2))))


def test_presence_weighs_misses_against_false_alarms() -> None:
    """One absent label is surer than all: shutting it out would cost every present one."""
    answers = [peak(x, present=True) for x in (0.4, 0.3, 0.25)] + [peak(0.9, present=False)]
    threshold = choose_presence(answers, scale=20.0, bias=0.2)
    assert threshold == pytest.approx(1 / (1 + np.exp(-20 * (0.25 - 0.2))))


def test_head_only_cuts_a_halo_off() -> None:
    coverage = np.zeros((8, 8), np.float32)
    coverage[2:6, 2:6] = 1
    cosines = np.full((8, 8), -0.5, np.float32)
    cosines[1:7, 1:7] = 0.05  # a halo at sigmoid(0.5) = 0.62
    cosines[2:6, 2:6] = 0.25  # the object at 0.92
    present, absent = Answer(cosines, coverage), Answer(cosines, np.zeros_like(coverage))
    level = choose_head_only([present], scale=10.0, bias=0.0)
    assert 0.62 < level < 0.92
    assert choose_head_only([present, absent], scale=10.0, bias=0.0) == level


def test_questions_ask_for_what_is_there_and_what_is_not() -> None:
    scene = Scene(
        image=np.zeros((8, 8, 3), np.uint8),
        masks=np.ones((3, 8, 8), bool),
        labels=np.array([4, 1, 4]),
        boxes=np.zeros((3, 4), np.float32),
        unlabelled=np.array([2]),
    )
    embeddings = np.eye(12, dtype=np.float32)
    embeddings[7] = 0.8 * embeddings[4] + 0.6 * embeddings[7]
    embeddings[2] = embeddings[4]  # as near as can be, but the photo may show it
    for seed in range(20):
        question = pose_question(scene, text_embeddings=embeddings, rng=np.random.default_rng(seed))
        assert question.present == (1, 4)
        assert question.absent[0] == 7
        assert len(set(question.absent)) == ABSENT
        assert not {1, 2, 4} & set(question.absent)


def test_calibration_is_written_and_read_back(
    tiny_checkpoint: Path, corpus: Corpus, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    write_tokenizer(folder / "tokenizer.json")
    (folder / CALIBRATION_NAME).write_text("of other weights", encoding="utf-8")
    found = calibrate(folder, corpus, size_px=64, scenes=3, seed=0)
    stored = (folder / CALIBRATION_NAME).read_bytes()
    assert Calibration.model_validate_json(stored) == found
    with SamClip.load("torch", model=folder) as model:
        assert model.manifest.calibration == found
    assert calibrate(folder, corpus, size_px=64, scenes=3, seed=0) == found
