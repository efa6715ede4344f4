"""Short distillations that a part makes for itself, resumable as any stage of the training."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import TradeOff
from benchmarks.paper.skills import Track, prompt_ious, student_accuracy
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from training.config import DistillConfig
from training.loop.train import build_fabric
from training.stages import Stages
from training.teachers.small import SmallSam

NEEDS = ("clip_teacher", "sam_teacher", "stage1")
"""What the short runs start from."""

_FOLDER = "paper"  # beside the stages


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
    """Trains, or goes on to train, or finds trained before.

    Args:
        inputs: the run, which gets a folder for this one in `paper`. Its name changes with the
            steps, the seed and the weights that the training starts from.
        settings: of the training.
        name: of the training.

    Returns:
        The student, in eval mode and without gradients.

    Raises:
        ValueError: the same training was begun with other settings.
        FloatingPointError: a loss is not finite.
        SystemExit: it was interrupted; what was trained is kept.
    """
    source = "".join(inputs.weights(NEEDS).values())
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    asked = inputs.settings
    run = inputs.run / _FOLDER / f"{name}_{asked.steps}_steps_seed_{asked.seed}_{digest}"
    stages = Stages(inputs.model, clip=inputs.clip_settings, runs=inputs.run)
    fabric = build_fabric(settings.optimisation.precision)
    threads = torch.get_num_threads()
    try:
        fabric.launch()
        stages.distill(settings, run, fabric)
    finally:
        torch.set_num_threads(threads)  # the training leaves cores to the workers that compose
    return load_checkpoint(run).requires_grad_(False)


def skills(
    inputs: Inputs, student: SamClipModel, *, classes: np.ndarray, name: str, track: Track
) -> TradeOff:
    """What a student knows of both teachers' skills, at its own resolutions.

    Args:
        inputs: with the held-out drawings.
        student: in eval mode.
        classes: embeddings of the nouns, [K,E].
        name: for the progress bars.
        track: shows progress.
    """
    return TradeOff(
        accuracy=student_accuracy(
            student,
            inputs.heldout,
            resolution=inputs.model.classification_resolution,
            classes=classes,
            name=name,
            track=track,
        ),
        prompts=prompt_ious(
            SmallSam(student),
            inputs.heldout,
            resolution=inputs.model.segmentation_resolution,
            who="model",
            name=name,
            track=track,
        ),
    )
