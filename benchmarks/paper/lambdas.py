"""The weight of SAM's loss in the joint distillation: 1 forgets SAM, 100 hinders CLIP.

The paper tried these three and chose 10 (appendix A).
"""

from __future__ import annotations

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtLambda, Lambdas
from benchmarks.paper.short_runs import NEEDS, distill, joint_settings, skills
from benchmarks.paper.skills import new_progress, tracker
from benchmarks.quality.class_embeddings import embed_classes

__all__ = ["NEEDS", "measure_lambdas"]

WEIGHTS = (1.0, 10.0, 100.0)


def measure_lambdas(inputs: Inputs) -> Lambdas:
    """Distils three students that differ in lambda alone, and measures each.

    Raises:
        SystemExit: a training was interrupted; the next call goes on with it.
    """
    # All are trained before any bar is shown: a training shows its own.
    students = {
        weight: distill(
            inputs, joint_settings(inputs, sam_weight=weight), name=f"lambda_{weight:g}"
        )
        for weight in WEIGHTS
    }
    classes = embed_classes(students[WEIGHTS[0]].text_encoder, inputs.heldout.nouns)
    with new_progress() as progress:
        rows = [
            AtLambda(
                sam_weight=weight,
                skills=skills(
                    inputs,
                    student,
                    classes=classes,
                    name=f"lambda {weight:g}",
                    track=tracker(progress),
                ),
            )
            for weight, student in students.items()
        ]
    shared = joint_settings(inputs, sam_weight=WEIGHTS[0])
    return Lambdas(
        training=shared.model_dump(mode="json", exclude={"sam_weight"}), rows=tuple(rows)
    )
