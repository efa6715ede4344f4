from __future__ import annotations

import numpy as np

from training.composed.label_questions import ABSENT, pose_question
from training.composed.scenes import Scene


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
