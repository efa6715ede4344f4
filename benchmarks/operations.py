"""What training stages cost, counted.

Operations are counted on the real modules. Nothing is computed for that: tensors are torch's meta
tensors, which have shapes and no values.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig
from training.batches import PATCH_PX, Joined
from training.config_file import load_model, load_stage, stage_names
from training.data_config import Sa1b, Shards
from training.loop.optimizer import choose_trained
from training.stages.distill import DistillConfig
from training.tasks.distill import DistillTask
from training.teacher_config import FoundationTeachers
from training.teachers.pretrained import OpenClip
from training.teachers.small import SmallSam


def count_stages(
    config: Path, *, pictures: float, step_processes: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Counts every stage of a merge of shards, a TOML file of training such as vit_b's.

    An epoch has so many pictures of D_CLIP, and so many processes share a step, each of which takes
    the config's batches.

    Yields:
        The stage's name; `pictures` and `scenes` that go through, over all epochs; `picture_flop`,
        the operations of one picture, on the mean over the resolutions it is seen at,
        `cached_flop`, the same with the teacher's embeddings from a cache, and `scene_flop`, those
        of one scene with its prompts; 0 where there are none.
    """
    model = load_model(config)
    for name in stage_names(config):
        settings = load_stage(config, name)
        if isinstance(settings, DistillConfig):
            cost = _count_stage(name, settings, model, pictures=pictures, processes=step_processes)
            yield name, cost


def _count_stage(
    name: str, settings: DistillConfig, model: ModelConfig, *, pictures: float, processes: int
) -> dict[str, float]:
    data, teachers = settings.pictures, settings.teachers
    if not isinstance(data, Shards) or not isinstance(teachers, FoundationTeachers):
        raise ValueError(f"{name} is not of shards and OpenCLIP")
    task = _build_task(settings, model, clip=teachers.clip)
    counts = {side: data.pixels_per_batch // side**2 for side in data.resolutions}
    whole = cached = 0.0
    for side, count in counts.items():
        batch = _images(side)
        whole += count * _count_loss(task, {"pictures": batch}, loss="clip")
        batch["teacher_embeddings"] = torch.empty(1, model.embed_dim, device="meta")
        cached += count * _count_loss(task, {"pictures": batch}, loss="clip")
    epochs = settings.optimisation.epochs
    steps = epochs * pictures / (statistics.mean(counts.values()) * processes)
    scene, scenes = 0.0, 0.0
    if isinstance(settings.scenes, Sa1b):
        prompts = (settings.scenes.prompts, 2)
        batch = {
            **_images(settings.scenes.resolution),
            "point_coords": torch.empty(*prompts, 2, device="meta"),
            "point_labels": torch.empty(prompts, dtype=torch.int32, device="meta"),
            "regions": torch.empty(0, 4, device="meta"),
        }
        # Every other step has mask prompts, for which the teacher decodes twice.
        both = [_count_loss(task, {"scenes": batch}, loss="scenes", step=step) for step in (0, 1)]
        scene, scenes = statistics.mean(both), steps * settings.scenes.batch * processes
    return {
        "pictures": epochs * pictures,
        "picture_flop": whole / sum(counts.values()),
        "cached_flop": cached / sum(counts.values()),
        "scene_flop": scene,
        "scenes": scenes,
    }


def _build_task(settings: DistillConfig, model: ModelConfig, *, clip: str) -> DistillTask:
    """The stage's task without values; SAM ViT-B is of the student's own architecture."""
    weights = ("sam_weight", "region_weight", "dense_weight")
    with torch.device("meta"):
        student = SamClipModel(model)
        student.image_encoder.set_grad_checkpointing(settings.grad_checkpointing)
        task = DistillTask(
            student,
            Joined({}),
            clip=OpenClip(open_clip.create_model(clip, device="meta")).requires_grad_(False),
            sam=SmallSam(SamClipModel(model)).requires_grad_(False),
            **{name: getattr(settings, name) for name in weights},
            validation=Joined({}),
            classes=None,
        )
    steps = {"steps": 1, "epochs": 0.0}
    choose_trained(dict(task.parts.items()), settings.optimisation.model_copy(update=steps))
    return task


def _count_loss(task: DistillTask, batch: Mapping[str, Any], *, loss: str, step: int = 0) -> float:
    """Operations of a loss, there and back; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        task(batch, loss=loss, step=step).backward()
    task.zero_grad()
    return float(counter.get_total_flops())


def _images(side: int) -> dict[str, Tensor]:
    grid = side // PATCH_PX
    return {
        "images": torch.empty(1, 3, side, side, device="meta"),
        "token_mask": torch.empty(1, grid, grid, device="meta"),
    }
