"""Puts teachers, student and data together for each kind of stage, and writes its result."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import typer
from lightning_fabric import Fabric
from safetensors.torch import load_file, save
from torch import Tensor, nn

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from samclip_sdk.modeling.config import ModelConfig
from training.calibrate import CALIBRATION_NAME, calibrate
from training.config import (
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    FoundationTeachers,
    SamTeacherConfig,
    Teachers,
)
from training.loop.run_folder import claim_run
from training.loop.train import train
from training.merge_data import VALIDATION_SEED, Composed, MergeData, crops_to_embed
from training.real.embedding_cache import fill_cache
from training.tasks.distill import DistillTask
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask
from training.teachers.captions import Captions, tokenize
from training.teachers.small import SmallSam, load_teacher, save_teacher
from training.teachers.teacher_pair import (
    SETTINGS_NAME,
    WEIGHTS_NAME,
    FoundationPair,
    Pair,
    SmallPair,
    new_clip,
)

_NOUNS = 150  # of composed data, where the config trains no CLIP teacher that says how many
_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")

Trained = ClipTeacherConfig | SamTeacherConfig | DistillConfig


class Stages:
    """Runs the stages of one config.

    Args:
        model: the student's, and the small SAM's.
        clip: what the small CLIP was or is to be trained with, if there is one.
        runs: folder of the runs, one a stage.
        allow_changes: resume a run although its settings have changed.
    """

    def __init__(
        self,
        model: ModelConfig,
        *,
        clip: ClipTeacherConfig | None,
        runs: Path,
        allow_changes: bool = False,
    ) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs
        self.allow_changes = allow_changes
        self.composed = Composed(_NOUNS if clip is None else clip.nouns)

    def train_clip_teacher(self, settings: ClipTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small CLIP."""
        clip = new_clip(self.model, settings)
        _go_on(clip, settings.starts_from)
        seed = settings.optimisation.seed
        captions = Captions(self.composed.nouns, embed_dim=self.model.embed_dim)
        task = ClipTeacherTask(
            clip,
            self.composed.pictures(settings.pictures, seed=seed),
            captions,
            validation=self.composed.pictures(settings.pictures, seed=VALIDATION_SEED),
            text_weight=settings.text_weight,
            text_only_steps=settings.text_only_steps,
        )
        self._claim(run, settings, fabric)
        train(task, settings.optimisation, run, fabric=fabric)
        if fabric.is_global_zero:
            _write_teacher(clip, settings, run)

    def train_sam_teacher(self, settings: SamTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small SAM."""
        seed = settings.optimisation.seed
        sam = SmallSam(build_model(self.model, seed=seed))
        _go_on(sam, settings.starts_from)
        task = SamTeacherTask(
            sam,
            self.composed.scenes(settings.scenes, seed=seed),
            validation=self.composed.scenes(settings.scenes, seed=VALIDATION_SEED),
        )
        self._claim(run, settings, fabric)
        train(task, settings.optimisation, run, fabric=fabric)
        if fabric.is_global_zero:
            _write_teacher(sam, settings, run)

    def distill(self, settings: DistillConfig, run: Path, fabric: Fabric) -> None:
        """Runs one of the paper's stages and writes a checkpoint."""
        pair = self.pair(settings.teachers)
        data = MergeData(settings, composed=self.composed, pair=pair, processes=fabric.world_size)
        if fabric.is_global_zero:
            for fault in data.faults:
                typer.echo(f"warning: {fault}", err=True)
        student = self._student(settings, pair)
        student.image_encoder.set_grad_checkpointing(settings.grad_checkpointing)
        # Read now: whatever happens to the earlier stage later, this is what it was.
        provenance = self._provenance(settings, pair, stage=run.name)
        task = DistillTask(
            student,
            data.train,
            clip=pair.clip,
            sam=pair.sam,
            sam_weight=settings.sam_weight,
            region_weight=settings.region_weight,
            dense_weight=settings.dense_weight,
            validation=data.validation,
            classes=None if data.classes is None else _embed_names(student, data.classes),
        )
        steps = {"steps": data.steps, "epochs": 0.0}
        self._claim(run, settings, fabric)
        train(task, settings.optimisation.model_copy(update=steps), run, fabric=fabric)
        if fabric.is_global_zero:
            (run / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights
            save_checkpoint(student, run, provenance=provenance)

    def calibrate(self, settings: CalibrateConfig) -> None:
        """Writes a checkpoint's `calibration.json`, and into its provenance how it came about."""
        checkpoint = self.runs / settings.checkpoint
        calibrate(
            checkpoint,
            self.composed.corpus,
            size_px=self.model.segmentation_resolution,
            scenes=settings.scenes,
            seed=settings.seed,
        )
        content = json.loads((checkpoint / SETTINGS_NAME).read_text(encoding="utf-8"))
        content["provenance"]["calibration"] = settings.model_dump(mode="json")
        with atomic_file(checkpoint / SETTINGS_NAME) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")

    def embed(self, settings: EmbeddingsConfig, fabric: Fabric) -> None:
        """Writes the CLIP teacher's embeddings, or the rest of them."""
        pair = self.pair(settings.teachers)
        fabric.to_device(pair.clip)
        crops = crops_to_embed(settings, pair=pair)
        fill_cache(
            settings.folder,
            crops,
            pair.clip,
            fingerprint=crops.fingerprint(teacher=pair.name, width=pair.clip.embed_dim),
            batch=settings.batch,
            workers=settings.workers,
            fabric=fabric,
        )

    def pair(self, teachers: Teachers) -> Pair:
        """The teachers of a merge."""
        if isinstance(teachers, FoundationTeachers):
            return FoundationPair(self.model, teachers)
        if self.clip_settings is None:
            raise ValueError("the config has no stage clip_teacher, and no other teachers")
        return SmallPair(self.model, self.clip_settings, runs=self.runs)

    def _student(self, settings: DistillConfig, pair: Pair) -> SamClipModel:
        """Stage 0, or what an earlier stage left."""
        if settings.starts_from == "teachers":
            return pair.stage0(seed=settings.optimisation.seed)
        student = load_checkpoint(self.runs / settings.starts_from)
        if student.config != self.model:
            raise ValueError(
                f"{self.runs / settings.starts_from} is of another model than {self.model.name}: "
                "its config.json differs from the preset"
            )
        return student

    def _claim(self, run: Path, settings: Trained, fabric: Fabric) -> None:
        """Last of all, so that a run that was refused leaves nothing behind."""
        made_with: dict[str, Any] = {"model": self.model.model_dump(mode="json")}
        made_with["batches_per_step"] = settings.optimisation.accumulate * fabric.world_size
        made_with |= settings.model_dump(mode="json")
        claim_run(run, made_with, allow_changes=self.allow_changes)

    def _provenance(self, settings: DistillConfig, pair: Pair, *, stage: str) -> dict[str, Any]:
        """How a stage's weights come about, down to the teachers; `nouns` counts those taught."""
        if settings.starts_from == "teachers":
            starts_from = pair.provenance()
        else:
            starts_from = read_provenance(self.runs / settings.starts_from)
        return {
            "stage": stage,
            **({"nouns": len(self.composed.nouns)} if self.clip_settings else {}),
            "settings": settings.model_dump(mode="json"),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "starts_from": starts_from,
        }


@torch.no_grad()
def _embed_names(student: SamClipModel, names: Sequence[str]) -> Tensor:
    """Text embeddings [N,E] of names, in CLIP's plainest caption."""
    ids = tokenize([f"a photo of a {name}." for name in names])
    return torch.cat([student.text_encoder(part) for part in ids.split(64)])


def publish(result: Path, target: Path) -> None:
    """Copies a teacher or a checkpoint, its weights rounded to fp16, without calibration."""
    state = load_file(result / WEIGHTS_NAME)
    target.mkdir(parents=True, exist_ok=True)
    halves = {key: x.half() if x.is_floating_point() else x for key, x in state.items()}
    with atomic_file(target / WEIGHTS_NAME) as file:
        file.write(save(halves))
    with atomic_file(target / SETTINGS_NAME) as file:
        file.write((result / SETTINGS_NAME).read_bytes())
    (target / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights


def _go_on(teacher: nn.Module, folder: Path | None) -> None:
    """Gives a teacher in training the weights of one that was trained."""
    if folder is not None:
        load_teacher(teacher, folder / WEIGHTS_NAME)


def _write_teacher(
    module: nn.Module, settings: ClipTeacherConfig | SamTeacherConfig, run: Path
) -> None:
    """Writes a teacher's weights, and beside them the settings that say how to build it."""
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(settings.model_dump_json(indent=2).encode())
    save_teacher(module, run / WEIGHTS_NAME)
