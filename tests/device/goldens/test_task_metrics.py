"""The metrics of whole tasks, on a model whose answers are known in advance."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.device.golden_checks import answer_tasks
from samclip_sdk.device.goldens.task_metrics import (
    BOX_MASK_IOU,
    EMBEDDING_COSINE,
    TASK_BOUNDS,
    TEXT_MASK_IOU,
    TOP1_AGREEMENT,
    TaskAnswers,
    TaskImage,
    compare_answers,
)
from samclip_sdk.engine.engine import Engine
from tests.fake_source import FakeSource


def sample_image() -> TaskImage:
    return TaskImage(
        image=np.zeros((50, 100, 3), dtype=np.uint8),
        boxes=np.array([[10, 10, 40, 40], [50, 5, 90, 45]], dtype=np.float32),
        labels=("dog", "zebra"),
    )


@pytest.fixture
def answers(tmp_path: Path) -> TaskAnswers:
    with closing(Engine(FakeSource(tmp_path))) as engine:
        return answer_tasks(engine, [sample_image()], vocabulary=("cat", "dog"))


def test_asks_everything(answers: TaskAnswers) -> None:
    assert answers.embeddings.shape[0] == len(answers.logits) == 3  # the image and two boxes
    assert answers.box_masks[0].shape == answers.text_masks[0].shape == (2, 50, 100)
    assert answers.box_masks[0].any(axis=(1, 2)).all()
    assert answers.text_masks[0].any(axis=(1, 2)).tolist() == [True, False]


def test_views_are_the_image_and_its_boxes() -> None:
    assert [view.shape for view in sample_image().views()] == [
        (50, 100, 3),
        (30, 30, 3),
        (40, 40, 3),
    ]


def test_the_same_answers_are_perfect(answers: TaskAnswers) -> None:
    found = compare_answers(answers, reference=answers)
    assert found == pytest.approx(dict.fromkeys(TASK_BOUNDS["int8"], 1.0))


def test_each_metric_sees_its_own_fault(answers: TaskAnswers) -> None:
    masks = answers.box_masks[0].copy()
    area = int(masks[0].sum())
    masks[0, ~masks[0].any(axis=1)] = True  # whole rows beside the mask
    union = int(masks[0].sum())
    turned = -answers.embeddings[:1]
    faults = {
        BOX_MASK_IOU: (replace(answers, box_masks=(masks,)), (1 + area / union) / 2),
        TEXT_MASK_IOU: (replace(answers, text_masks=(~answers.text_masks[0],)), 0.0),
        TOP1_AGREEMENT: (replace(answers, logits=answers.logits[:, ::-1]), 0.0),
        EMBEDDING_COSINE: (
            replace(answers, embeddings=np.concatenate([turned, answers.embeddings[1:]])),
            -1.0,
        ),
    }
    for metric, (faulty, value) in faults.items():
        found = compare_answers(faulty, reference=answers)
        assert found.pop(metric) == pytest.approx(value, abs=1e-6)
        assert list(found.values()) == pytest.approx([1, 1, 1])


def test_a_word_that_is_as_likely_to_the_reference_agrees(answers: TaskAnswers) -> None:
    reference = replace(answers, logits=np.array([[3.0, 2.95], [3, 2.8], [1, 2]], np.float32))
    other = replace(answers, logits=np.array([[2.9, 2.95], [2.8, 3], [1, 2]], np.float32))
    found = compare_answers(other, reference=reference)
    assert found[TOP1_AGREEMENT] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["embeddings", "logits"])
def test_what_is_not_a_number_agrees_with_nothing(answers: TaskAnswers, name: str) -> None:
    numbers = getattr(answers, name).copy()
    numbers[0, 0] = np.nan
    found = compare_answers(replace(answers, **{name: numbers}), reference=answers)
    assert set(found.values()) == {0.0}
