"""The thresholds of everything-mode, chosen for the SAM at hand.

A small SAM rarely predicts an IoU of 0.88 for its own masks, so that with SAM's own thresholds the
two models would find next to nothing. The student's thresholds are calibrated on training scenes;
these are chosen on such scenes too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import product

import numpy as np

from benchmarks.paper.everything import PaintedMasks, TwoModels, paint
from benchmarks.paper.record import Everything
from benchmarks.quality.text_to_mask import TextTally
from training.composed.label_questions import Question
from training.composed.scenes import Scene

PREDICTED_IOUS = (0.88, 0.7, 0.5, 0.3, 0.0)
STABILITIES = (0.95, 0.8, 0.6, 0.3, 0.0)


def tune(
    two: TwoModels,
    asked: Iterable[tuple[Scene, Question]],
    *,
    classes: np.ndarray,
    nothing: np.ndarray,
) -> Everything:
    """Finds the thresholds whose mIoU is best, in the better of both ways of naming segments.

    Args:
        two: the models.
        asked: scenes of training drawings, with what each is asked.
        classes: embeddings [K,E] of all nouns.
        nothing: embeddings [N,E] of names for a place without an object.
    """
    tallies: dict[tuple[Everything, bool], TextTally] = defaultdict(TextTally)
    choices = [
        two.settings.model_copy(update={"predicted_iou": predicted, "stability": stability})
        for predicted, stability in product(PREDICTED_IOUS, STABILITIES)
    ]
    for scene, question in asked:
        labels = classes[[*question.present, *question.absent]]
        candidates = two.look(scene.image)
        for choice in choices:
            segments = candidates.choose(choice)
            for free in (False, True):
                rivals = np.concatenate([labels, nothing]) if free else labels
                painted = paint(segments, rivals, labels=len(labels))
                answer = PaintedMasks.of(painted, labels=len(labels))
                tallies[choice, free].add(answer, question=question, scene=scene)
    best, _ = max(tallies, key=lambda key: tallies[key].row(heads="two_models", split="train").miou)
    return best
