"""Averaging weights instead of distilling jointly (paper, appendix D, figure 8).

SAM's image encoder is distilled from CLIP alone, which forgets SAM. Then every weight of it is
moved back in steps, towards SAM's own. The CLIP head stays the distilled one, SAM's other parts
are SAM's at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtAlpha, WiseFt
from benchmarks.paper.short_runs import NEEDS as STARTS_FROM
from benchmarks.paper.short_runs import clip_alone_settings, distill, skills
from benchmarks.paper.skills import new_progress, tracker
from benchmarks.quality.class_embeddings import embed_classes
from samclip_sdk.modeling.checkpoint import read_provenance

NEEDS = (*STARTS_FROM, "stage3")
ALPHAS = tuple(step / 10 for step in range(11))


def measure_wise_ft(inputs: Inputs) -> WiseFt:
    """Distils from CLIP alone, then measures what is between that and SAM.

    Raises:
        SystemExit: the training was interrupted; the next call goes on with it.
    """
    settings = clip_alone_settings(inputs)
    student = distill(inputs, settings, name="wise_ft")
    start = dict(inputs.sam.image_encoder.state_dict())
    end = {key: value.clone() for key, value in student.image_encoder.state_dict().items()}
    classes = embed_classes(student.text_encoder, inputs.heldout.nouns)
    points = []
    with new_progress() as progress:
        track = tracker(progress)
        for alpha in ALPHAS:
            student.image_encoder.load_state_dict(interpolate(start, end, alpha=alpha))
            found = skills(inputs, student, classes=classes, name=f"alpha {alpha:.1f}", track=track)
            points.append(AtAlpha(alpha=alpha, skills=found))
        joint = skills(
            inputs, inputs.student("stage3"), classes=classes, name="joint model", track=track
        )
    return WiseFt(
        training=settings.model_dump(mode="json"),
        points=tuple(points),
        joint=joint,
        joint_steps=steps_since_stage1(read_provenance(inputs.run / "stage3")),
    )


def steps_since_stage1(provenance: Mapping[str, Any]) -> int:
    """The steps of all stages behind a checkpoint but the first, by its own account."""
    steps = 0
    while provenance.get("stage", "stage1") != "stage1":
        steps += provenance["settings"]["optimisation"]["steps"]
        provenance = provenance["starts_from"]
    return steps


def interpolate(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, alpha: float
) -> dict[str, Tensor]:
    """Weights `alpha` of the way from one state to another: exactly those at 0 and at 1.

    Raises:
        ValueError: the two do not have the same tensors.
    """
    if start.keys() != end.keys():
        raise ValueError("the two states are of different modules")
    return {key: (1 - alpha) * value + alpha * end[key] for key, value in start.items()}
