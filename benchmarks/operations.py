"""What image encoders and training stages cost: counted, and encoders timed on onnxruntime.

Operations are counted on the real modules. Nothing is computed for that: tensors are torch's meta
tensors, which have shapes and no values.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.costs import EncoderCost, StageCost
from benchmarks.speed.measure import measure_subjects
from benchmarks.speed.published import Say, encoder_spec
from benchmarks.speed.record import Settings
from benchmarks.speed.vit_b import count_graphs
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
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

_PART = "image_encoder"
_SUBJECT = "samclip,precision=fp32,unverified=true,model="


def count_stages(config: Path, *, pictures: float, step_processes: int) -> Iterator[StageCost]:
    """Counts every stage of a merge of shards, a TOML file of training such as vit_b's.

    An epoch has so many pictures of D_CLIP, and so many processes share a step, each of which takes
    the config's batches.
    """
    model = load_model(config)
    for name in stage_names(config):
        settings = load_stage(config, name)
        if isinstance(settings, DistillConfig):
            yield _count_stage(name, settings, model, pictures=pictures, processes=step_processes)


def _count_stage(
    name: str, settings: DistillConfig, model: ModelConfig, *, pictures: float, processes: int
) -> StageCost:
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
    return StageCost(
        name=name,
        pictures=epochs * pictures,
        picture_flop=whole / sum(counts.values()),
        cached_flop=cached / sum(counts.values()),
        scene_flop=scene,
        scenes=scenes,
    )


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


def count_encoders(
    presets: Mapping[str, ModelConfig], *, resolutions: Sequence[int], say: Say
) -> list[EncoderCost]:
    """Counts the image encoder of each preset, by name, at each resolution, in pixels."""
    pairs = [(name, each) for name in presets for each in dict.fromkeys(resolutions)]
    for name, resolution in pairs:
        presets[name].check_resolution(resolution)  # before any work is done
    counted = []
    for name, resolution in pairs:
        say(f"counting {name} at {resolution} px")
        every = count_graphs(presets[name], resolution=resolution)
        (cost,) = (each for each in every if each.graph == _PART)
        counted.append(
            EncoderCost(
                preset=name,
                resolution=resolution,
                parameters=cost.parameters,
                flop=cost.weight_flop + cost.attention_flop,
                rounds_p50_ms=(),
            )
        )
    return counted


def time_encoders(
    counted: Sequence[EncoderCost], *, rounds: int, seconds: float, threads: int, say: Say
) -> list[EncoderCost]:
    """Exports what `count_encoders` counted with random weights, and times it with so many threads.

    Raises:
        ValueError: which could not be timed, and why.
    """
    settings = Settings(rounds=rounds, seconds=seconds, at_least=1, at_most=1000, baseline=None)
    sizes: dict[str, list[int]] = {}
    for each in counted:
        sizes.setdefault(each.preset, []).append(each.resolution)
    with TemporaryDirectory() as folder:
        specs = []
        for name, resolutions in sizes.items():
            say(f"exporting {name}")
            bundle, options = Path(folder, name), ExportOptions(resolutions=tuple(resolutions))
            write_bundle(find_source(f"random:{name}"), bundle, options=options)
            specs.append(encoder_spec(f"{_SUBJECT}{bundle}", resolutions, threads=threads))
        rows, failures = measure_subjects(specs, settings=settings, on_progress=say)
    for failure in failures:
        raise ValueError(f"{failure.subject}, {failure.at}: {failure.reason}")
    times = [each.rounds_p50_ms for row in rows for each in row.workloads]
    timed = zip(counted, times, strict=True)
    return [each.model_copy(update={"rounds_p50_ms": rounds_ms}) for each, rounds_ms in timed]
