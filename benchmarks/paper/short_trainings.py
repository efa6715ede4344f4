"""What short distillations show: averaging weights instead, and the weight of SAM's loss.

Averaging (appendix D, figure 8): SAM's image encoder is distilled from CLIP alone, which forgets
SAM. Then every weight of it is moved back in steps, towards SAM's own, as in `averaging`. The CLIP
head stays the distilled one, SAM's other parts are SAM's at every step.

The weight of SAM's loss, lambda: 1 forgets SAM, 100 hinders CLIP. The paper tried these three and
chose 10 (appendix A).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.paper.averaging import measure_between
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtLambda, Lambdas, WiseFt
from benchmarks.paper.zero_shot import trade_off
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from training.config import DistillConfig
from training.loop.train import build_fabric
from training.stages import Stages

LAMBDAS = (1.0, 10.0, 100.0)


def measure_wise_ft(inputs: Inputs) -> WiseFt:
    """Distils from CLIP alone, then measures what is between that and SAM."""
    settings = clip_alone_settings(inputs)
    student = distill(inputs, settings, name="wise_ft")
    start = inputs.pair.sam.image_encoder.state_dict()
    end = {key: value.clone() for key, value in student.image_encoder.state_dict().items()}
    shipped = inputs.stages.shipped
    return WiseFt(
        training=settings.model_dump(mode="json"),
        points=measure_between(inputs, student, student.image_encoder, start=start, end=end),
        joint=trade_off(inputs, inputs.student(), name="joint model"),
        joint_steps=steps_since_stage1(read_provenance(inputs.run / shipped)),
    )


def measure_lambdas(inputs: Inputs) -> Lambdas:
    """Distils three students that differ in lambda alone, and measures each."""
    rows = []
    for weight in LAMBDAS:
        settings = joint_settings(inputs, sam_weight=weight)
        student = distill(inputs, settings, name=f"lambda_{weight:g}")
        found = trade_off(inputs, student, name=f"lambda {weight:g}")
        rows.append(AtLambda(sam_weight=weight, **dict(found)))
    shared = settings.model_dump(mode="json", exclude={"sam_weight"})
    return Lambdas(training=shared, rows=tuple(rows))


def joint_settings(inputs: Inputs, *, sam_weight: float) -> DistillConfig:
    """The joint distillation with this lambda, from stage 1 and for the steps that were asked.

    All else is as in the config's stage 2.
    """
    asked, own = inputs.settings, inputs.stage2.optimisation
    schedule = {
        "steps": asked.steps,
        "warmup_steps": min(own.warmup_steps, asked.steps // 10),
        "seed": asked.seed,
        "validation": None,
    }
    changes = {
        "optimisation": own.model_copy(update=schedule),
        "starts_from": "stage1",
        "sam_weight": sam_weight,
    }
    return inputs.stage2.model_copy(update=changes)


def clip_alone_settings(inputs: Inputs) -> DistillConfig:
    """The same with CLIP as the only teacher: of pictures alone, image encoder and CLIP head."""
    joint = joint_settings(inputs, sam_weight=0.0)
    multipliers = {"clip_head": 1.0, "image_encoder": 1.0}
    changes = {
        "optimisation": joint.optimisation.model_copy(update={"multipliers": multipliers}),
        "region_weight": 0.0,
        "dense_weight": 0.0,
        "scenes": None,
    }
    return joint.model_copy(update=changes)


def distill(inputs: Inputs, settings: DistillConfig, *, name: str) -> SamClipModel:
    """Trains, or goes on to train, or finds trained before: a student in eval mode.

    The run gets a folder for it in `paper`, whose name changes with the steps, the seed and the
    weights that the training starts from.

    Raises:
        ValueError: the same training was begun with other settings.
        FloatingPointError: a loss is not finite.
        SystemExit: it was interrupted; what was trained is kept.
    """
    source = "".join(inputs.weights(["clip_teacher", "sam_teacher", "stage1"]).values())
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    asked = inputs.settings
    run = inputs.run / "paper" / f"{name}_{asked.steps}_steps_seed_{asked.seed}_{digest}"
    stages = Stages(inputs.pair.model, clip=inputs.pair.clip_settings, runs=inputs.run)
    fabric = build_fabric(settings.optimisation.precision)
    threads = torch.get_num_threads()
    try:
        fabric.launch()
        stages.distill(settings, run, fabric)
    finally:
        torch.set_num_threads(threads)  # the training leaves cores to the workers that compose
    return load_checkpoint(run).requires_grad_(False)


def steps_since_stage1(provenance: Mapping[str, Any]) -> int:
    """The steps of all stages behind a checkpoint but the first, by its own account."""
    steps = 0
    while provenance.get("stage", "stage1") != "stage1":
        steps += provenance["settings"]["optimisation"]["steps"]
        provenance = provenance["starts_from"]
    return steps
