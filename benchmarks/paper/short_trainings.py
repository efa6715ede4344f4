"""Averaged weights instead of distillation (appendix D); the weight of SAM's loss (appendix A).

What is averaged comes from a short training: SAM's image encoder is distilled from CLIP alone,
which forgets SAM, then every weight of it is moved back in steps, towards SAM's own. The CLIP head
stays the distilled one, SAM's other parts are SAM's at every step. A classifier that has a backbone
of SAM's kind needs no training: the two backbones are averaged as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.paper.run import Inputs
from benchmarks.suite import Measuring
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from training.config_file import find_config, load_stage
from training.loop.train import build_fabric
from training.stage import Stage
from training.stages.distill import DistillConfig
from training.teachers.classifier_clip import ClassifierClip

ALPHAS = tuple(step / 10 for step in range(11))
LAMBDAS = (1.0, 10.0, 100.0)


def measure_wise_ft(measured: Measuring, inputs: Inputs) -> None:
    """Measures what is between SAM, at alpha 0, and CLIP, at alpha 1, and the joint model."""
    clip = inputs.pair.clip
    if isinstance(clip, ClassifierClip):
        model = inputs.pair.stage0(seed=0).eval().requires_grad_(False)
        part: nn.Module = model.image_encoder.backbone
        start = {key: value.clone() for key, value in part.state_dict().items()}
        theirs = clip.backbone.state_dict()
        end = {key: theirs[key] for key in start}
    else:
        settings = clip_alone_settings(inputs)
        model = distill(inputs, settings, name="wise_ft")
        part = model.image_encoder
        start = inputs.pair.stage0(seed=0).image_encoder.state_dict()
        end = {key: value.clone() for key, value in part.state_dict().items()}
        joint_steps = steps_since_stage1(read_provenance(inputs.run / inputs.shipped))
        told = {"training": settings.model_dump(mode="json"), "joint_steps": joint_steps}
        measured.settings |= told
    for alpha in ALPHAS:
        part.load_state_dict(interpolate(start, end, alpha=alpha))
        inputs.add_skills(measured, model, who=f"wise_ft: {alpha:.1f}")
    inputs.add_skills(measured, inputs.student(), who="wise_ft: joint")


def interpolate(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, alpha: float
) -> dict[str, Tensor]:
    """Weights `alpha` of the way from one state to another: exactly those at 0 and at 1."""
    if start.keys() != end.keys():
        raise ValueError("the two states are of different modules")
    return {key: (1 - alpha) * value + alpha * end[key] for key, value in start.items()}


def measure_lambdas(measured: Measuring, inputs: Inputs) -> None:
    """Distils three students that differ in lambda alone, and measures each.

    1 forgets SAM, 100 hinders CLIP, and the paper chose 10 of these three.
    """
    for weight in LAMBDAS:
        settings = joint_settings(inputs, sam_weight=weight)
        measured.settings["training"] = settings.model_dump(mode="json", exclude={"sam_weight"})
        student = distill(inputs, settings, name=f"lambda_{weight:g}")
        inputs.add_skills(measured, student, who=f"lambdas: {weight:g}")


def joint_settings(inputs: Inputs, *, sam_weight: float) -> DistillConfig:
    """The joint distillation with this lambda, from stage 1 and for the steps that were asked.

    All else is as in the stage 2 of the run's config.
    """
    stage2 = load_stage(find_config(inputs.run.name), "stage2")
    if not isinstance(stage2, DistillConfig):
        raise ValueError(f"stage2 of the config {inputs.run.name} is no distillation")
    own = stage2.optimisation
    warmup = min(own.warmup_steps, inputs.steps // 10)
    schedule = {"steps": inputs.steps, "warmup_steps": warmup, "seed": inputs.seed}
    optimisation = own.model_copy(update=schedule | {"epochs": 0.0, "validation": None})
    changes = {"optimisation": optimisation, "starts_from": "stage1", "sam_weight": sam_weight}
    return stage2.model_copy(update=changes)


def clip_alone_settings(inputs: Inputs) -> DistillConfig:
    """The same with CLIP as the only teacher: of pictures alone, image encoder and CLIP head."""
    joint = joint_settings(inputs, sam_weight=0.0)
    multipliers = {"multipliers": {"clip_head": 1.0, "image_encoder": 1.0}}
    without = {"region_weight": 0.0, "dense_weight": 0.0, "scenes": None}
    optimisation = joint.optimisation.model_copy(update=multipliers)
    return joint.model_copy(update={"optimisation": optimisation, **without})


def distill(inputs: Inputs, settings: DistillConfig, *, name: str) -> SamClipModel:
    """Trains, or goes on to train, or finds trained before: a student in eval mode.

    The run gets a folder for it in `paper`, whose name changes with the steps, the seed and the
    weights that the training starts from. An interrupted training is kept, and ends in SystemExit.
    """
    digest = hashlib.sha256("".join(inputs.weights("stage1").values()).encode()).hexdigest()[:8]
    folder = f"{name}_{inputs.steps}_steps_seed_{inputs.seed}_{digest}"
    run, model = inputs.run / "paper" / folder, inputs.student().config
    fabric = build_fabric(settings.optimisation.precision)
    threads = torch.get_num_threads()
    try:
        fabric.launch()
        settings.run(Stage(run, inputs.run, model, fabric))
    finally:
        torch.set_num_threads(threads)  # the training leaves cores to the workers that compose
    return load_checkpoint(run).requires_grad_(False)


def steps_since_stage1(provenance: Mapping[str, Any]) -> int:
    """The steps of all stages behind a checkpoint but the first, by its own account."""
    steps = 0
    while provenance.get("stage", "stage1") != "stage1":
        steps += provenance["settings"]["optimisation"]["steps"] or 0
        provenance = provenance["starts_from"]
    return steps
