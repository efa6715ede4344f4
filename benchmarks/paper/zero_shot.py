"""Zero-shot skills, through the public API: of both teachers, and of students of several kinds.

The paper's table 1 (how much of its teachers the student keeps) and table 6 (the student's input
resolution, before and after stage 3); averaged weights instead of distillation (appendix D, figure
8); and lambda, the weight of SAM's loss (appendix A): 1 forgets SAM, 100 hinders CLIP, and the
paper chose 10 of these three.

On drawings, what is averaged comes from a short training: SAM's image encoder is distilled from
CLIP alone, which forgets SAM, then every weight of it is moved back in steps, towards SAM's own.
The CLIP head stays the distilled one, SAM's other parts are SAM's at every step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.given_embeddings import give_embeddings
from benchmarks.paper import record
from benchmarks.paper.inputs import Inputs
from benchmarks.quality.behind_api import behind_api
from benchmarks.quality.ranking import by_logits
from samclip_sdk import SamClip
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from training.loop.train import build_fabric
from training.stage import Stage
from training.stages.distill import DistillConfig
from training.teachers.classifier_clip import ClassifierClip

ALPHAS = tuple(step / 10 for step in range(11))
LAMBDAS = (1.0, 10.0, 100.0)

_OF_SEGMENTATION = (3 / 8, 1 / 2, 3 / 4, 1)
_MULTIPLE_PX = 32


def measure_teachers(inputs: Inputs) -> record.Teachers:
    """Measures both teachers and the student, each at its own resolutions."""
    asked, teachers = inputs.asked, inputs.teachers
    student = trade_off(inputs, inputs.student(), name="student")
    sam = partial(asked.prompts, teachers.sam, who="sam_teacher", name="SAM teacher")
    return record.Teachers(
        clip_teacher=asked.accuracy(teachers.rank, name="CLIP teacher"),
        student_accuracy=student.accuracy,
        sam_teacher=None if inputs.sam_is_student else sam(),
        student_prompts=student.prompts,
    )


def measure_resolutions(
    inputs: Inputs, *, resolutions: Sequence[int] | None = None
) -> record.Resolutions:
    """Measures the student as each stage left it, at each resolution.

    By default these are four, up to that of segmentation: 96 to 256, or 128 to 384 pixels.
    """
    largest = inputs.pair.model.segmentation_resolution
    usual = [round(share * largest / _MULTIPLE_PX) * _MULTIPLE_PX for share in _OF_SEGMENTATION]
    rows = []
    for stage in inputs.stages.students:
        student = inputs.student(stage)
        for resolution in resolutions or usual:
            model = open_student(inputs, student, classification_px=resolution)
            name = f"{stage}, {resolution} px"
            found = inputs.asked.accuracy(partial(by_logits, model), name=name)
            rows.append(record.AtResolution(stage=stage, resolution_px=resolution, accuracy=found))
    return record.Resolutions(rows=tuple(rows))


def open_student(
    inputs: Inputs, student: SamClipModel, *, classification_px: int | None = None
) -> SamClip:
    """Puts a student behind the public API; it knows the names from the CLIP teacher.

    Its text encoder is the CLIP teacher's, so that the embeddings are its own.
    """
    model = behind_api(
        student, classification_px=classification_px, tokenizer=inputs.pair.tokenizer
    )
    names = inputs.asked.names
    give_embeddings(model, names, inputs.teachers.classes(names))
    return model


def trade_off(inputs: Inputs, student: SamClipModel, *, name: str) -> record.TradeOff:
    """What a student knows of both teachers' skills, at its own resolutions."""
    model, asked = open_student(inputs, student), inputs.asked
    return record.TradeOff(
        accuracy=asked.accuracy(partial(by_logits, model), name=name),
        prompts=asked.prompts(model, who="model", name=name),
    )


def measure_backbones(inputs: Inputs) -> record.WiseFt:
    """Measures what is between the backbones of SAM and of a classifier, which are of one kind.

    The rest is stage 0's at every step: SAM's neck and its other parts, and the CLIP teacher's
    head. So alpha 0 segments as the SAM teacher does, and alpha 1 names as the CLIP teacher does.
    """
    model, clip = inputs.pair.stage0(seed=0).eval().requires_grad_(False), inputs.pair.clip
    if not isinstance(clip, ClassifierClip):
        raise ValueError(f"{inputs.pair.name} is no classifier: its backbone cannot be averaged")
    backbone: nn.Module = model.image_encoder.backbone
    start = {key: value.clone() for key, value in backbone.state_dict().items()}
    theirs = clip.backbone.state_dict()
    end = {key: theirs[key] for key in start}
    return record.WiseFt(
        points=measure_between(inputs, model, backbone, start=start, end=end),
        joint=trade_off(inputs, inputs.student(), name="joint model"),
    )


def measure_wise_ft(inputs: Inputs) -> record.WiseFt:
    """Distils from CLIP alone, then measures what is between that and SAM."""
    settings = clip_alone_settings(inputs)
    student = distill(inputs, settings, name="wise_ft")
    start = inputs.pair.sam.image_encoder.state_dict()
    end = {key: value.clone() for key, value in student.image_encoder.state_dict().items()}
    return record.WiseFt(
        training=settings.model_dump(mode="json"),
        points=measure_between(inputs, student, student.image_encoder, start=start, end=end),
        joint=trade_off(inputs, inputs.student(), name="joint model"),
        joint_steps=steps_since_stage1(read_provenance(inputs.pair.runs / inputs.stages.shipped)),
    )


def measure_between(
    inputs: Inputs,
    model: SamClipModel,
    part: nn.Module,
    *,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
) -> tuple[record.AtAlpha, ...]:
    """Measures a model with each of `ALPHAS` of its part, which is changed."""
    points = []
    for alpha in ALPHAS:
        part.load_state_dict(interpolate(start, end, alpha=alpha))
        found = trade_off(inputs, model, name=f"alpha {alpha:.1f}")
        points.append(record.AtAlpha(alpha=alpha, **dict(found)))
    return tuple(points)


def interpolate(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, alpha: float
) -> dict[str, Tensor]:
    """Weights `alpha` of the way from one state to another: exactly those at 0 and at 1."""
    if start.keys() != end.keys():
        raise ValueError("the two states are of different modules")
    return {key: (1 - alpha) * value + alpha * end[key] for key, value in start.items()}


def measure_lambdas(inputs: Inputs) -> record.Lambdas:
    """Distils three students that differ in lambda alone, and measures each."""
    rows = []
    for weight in LAMBDAS:
        settings = joint_settings(inputs, sam_weight=weight)
        student = distill(inputs, settings, name=f"lambda_{weight:g}")
        found = trade_off(inputs, student, name=f"lambda {weight:g}")
        rows.append(record.AtLambda(sam_weight=weight, **dict(found)))
    shared = settings.model_dump(mode="json", exclude={"sam_weight"})
    return record.Lambdas(training=shared, rows=tuple(rows))


def joint_settings(inputs: Inputs, *, sam_weight: float) -> DistillConfig:
    """The joint distillation with this lambda, from stage 1 and for the steps that were asked.

    All else is as in the config's stage 2.
    """
    asked, own = inputs.asked.settings, inputs.stage2.optimisation
    warmup = min(own.warmup_steps, asked.steps // 10)
    schedule = {"steps": asked.steps, "warmup_steps": warmup, "seed": asked.seed}
    optimisation = own.model_copy(update=schedule | {"validation": None})
    changes = {"optimisation": optimisation, "starts_from": "stage1", "sam_weight": sam_weight}
    return inputs.stage2.model_copy(update=changes)


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
    source = "".join(inputs.weights(["clip_teacher", "sam_teacher", "stage1"]).values())
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    asked = inputs.asked.settings
    run = inputs.pair.runs / "paper" / f"{name}_{asked.steps}_steps_seed_{asked.seed}_{digest}"
    fabric = build_fabric(settings.optimisation.precision)
    threads = torch.get_num_threads()
    try:
        fabric.launch()
        settings.run(Stage(run, inputs.pair.runs, inputs.pair.model, fabric))
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
