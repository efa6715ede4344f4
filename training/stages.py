"""Puts teachers, student and data together for each kind of stage, and writes its result."""

from __future__ import annotations

import importlib.metadata
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from samclip_sdk.modeling.config import BertTextConfig, ModelConfig
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from training.calibrate import CALIBRATION_NAME, read_calibration
from training.calibration_stage import calibrate_checkpoint
from training.config import (
    CalibrateConfig,
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    FoundationTeachers,
    MergedTeachers,
    PhotographTeachers,
    RefinementConfig,
    SamTeacherConfig,
    Teachers,
    start_folder,
)
from training.errors import TrainingError, TrainingWarning
from training.loop.run_folder import claimed_run
from training.loop.train import train
from training.merge_data import MergeData, crops_to_embed
from training.mixed_weights import mix_weights
from training.name_stage import teach_names
from training.photograph_stages import new_cell_task, new_refinement_task
from training.real.embedding_cache import fill_cache
from training.resizing import resized
from training.sources import (
    VALIDATION_SEED,
    Composed,
    batches_of,
    photograph_terms,
)
from training.step_size import Trained, batches_in_step
from training.student_texts import embed_names
from training.tasks.distill import DistillTask
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask, Task
from training.teachers.captions import Captions
from training.teachers.classifier_clip import save_classifier_clip
from training.teachers.efficientnet_lite import load_lite2
from training.teachers.merged_pair import MergedPair
from training.teachers.photograph_pair import TEXT_ENCODER, PhotographPair
from training.teachers.small import SmallSam, go_on, load_prompt_parts, save_teacher
from training.teachers.teacher_pair import (
    SETTINGS_NAME,
    WEIGHTS_NAME,
    FoundationPair,
    Pair,
    SmallPair,
    new_clip,
)
from training.teachers.text_encoder_file import copy_tokenizer
from training.text_config import TaughtNamesConfig, TextEncoderTrainingConfig, TextTeacherConfig
from training.text_stages import make_text_teacher, train_text_encoder

_NOUNS = 150  # of composed data, where the config trains no CLIP teacher that says how many
_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")


class Stages:
    """Runs the stages of one config.

    Args:
        model: the student's, and the small SAM's.
        clip: what the small CLIP was or is to be trained with, if there is one.
        runs: folder of the runs, one a stage.
        allow_changes: resume a run although its settings have changed.
        on_progress: told in the first process what a stage is at.
    """

    def __init__(
        self,
        model: ModelConfig,
        *,
        clip: ClipTeacherConfig | None,
        runs: Path,
        allow_changes: bool = False,
        on_progress: OnProgress = tell_nobody,
    ) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs
        self.allow_changes = allow_changes
        self.on_progress = on_progress
        self.composed = Composed(_NOUNS if clip is None else clip.nouns)

    def train_teacher(
        self,
        settings: ClipTeacherConfig | ClassifierClipConfig | SamTeacherConfig,
        run: Path,
        fabric: Fabric,
    ) -> None:
        """Trains one of the teachers."""
        match settings:
            case ClipTeacherConfig():
                self._train_clip_teacher(settings, run, fabric)
            case ClassifierClipConfig():
                self._train_classifier_clip(settings, run, fabric)
            case SamTeacherConfig():
                self._train_sam_teacher(settings, run, fabric)

    def _train_clip_teacher(self, settings: ClipTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small CLIP."""
        clip = new_clip(self.model, settings)
        if settings.starts_from is not None:
            go_on(clip, settings.starts_from / WEIGHTS_NAME)
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
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                _write_teacher(clip, settings, run)

    def _train_classifier_clip(
        self, settings: ClassifierClipConfig, run: Path, fabric: Fabric
    ) -> None:
        """Trains the head of the CLIP teacher that knows photographs."""
        task = new_cell_task(settings, model=self.model, runs=self.runs)
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                _write_settings(settings, run)
                save_classifier_clip(task.clip, run / WEIGHTS_NAME)

    def _train_sam_teacher(self, settings: SamTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small SAM."""
        seed = settings.optimisation.seed
        sam = SmallSam(build_model(self.model, seed=seed))
        if settings.backbone is not None:
            load_lite2(sam.image_encoder)
        if settings.prompts_from is not None:
            load_prompt_parts(sam, settings.prompts_from / WEIGHTS_NAME)
        if settings.starts_from is not None:
            go_on(sam, settings.starts_from / WEIGHTS_NAME)
        scenes, composed = settings.scenes, self.composed
        held_out = None
        if settings.optimisation.validation is not None:
            held_out = batches_of(scenes, composed=composed, split="validation", seed=seed)
        task = SamTeacherTask(
            sam,
            batches_of(scenes, composed=composed, split="train", seed=seed),
            validation=held_out,
        )
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                _write_teacher(sam, settings, run)

    def fit_words(self, settings: TextTeacherConfig | TaughtNamesConfig, run: Path) -> None:
        """Fits the text teacher to a classifier, or names to what a model sees."""
        if isinstance(settings, TaughtNamesConfig):
            teach_names(settings, run, on_progress=self.on_progress)
        else:
            width = self.model.embed_dim
            make_text_teacher(settings, run, embed_dim=width, on_progress=self.on_progress)

    def train_text_encoder(
        self, settings: TextEncoderTrainingConfig, run: Path, fabric: Fabric
    ) -> None:
        """Trains the student's text encoder, of the kind bert."""
        train_text_encoder(
            settings,
            run,
            model=self.model,
            fabric=fabric,
            allow_changes=self.allow_changes,
            on_progress=self.on_progress,
        )

    def distill(self, settings: DistillConfig, run: Path, fabric: Fabric) -> None:
        """Runs one of the paper's stages and writes a checkpoint."""
        pair = self.pair(settings.teachers)
        data = MergeData(
            settings,
            composed=self.composed,
            pair=pair,
            processes=fabric.world_size,
            on_progress=self._teller(fabric),
        )
        if fabric.is_global_zero:
            for fault in data.faults:
                warnings.warn(fault, TrainingWarning, stacklevel=2)
        student = self._student(settings, pair)
        student.image_encoder.set_grad_checkpointing(settings.grad_checkpointing)
        # Read now: whatever happens to the earlier stage later, this is what it was.
        terms = photograph_terms(data.train)
        provenance = self._provenance(
            settings, stage=run.name, licences=pair.licences(), terms=terms, pair=pair
        )
        task = DistillTask(
            student,
            data.train,
            clip=pair.clip,
            sam=pair.sam if settings.asks_sam else None,
            sam_weight=settings.sam_weight,
            region_weight=settings.region_weight,
            dense_weight=settings.dense_weight,
            cell_weight=settings.cell_weight,
            validation=data.validation,
            classes=None
            if data.classes is None
            else embed_names(student, data.classes, folder=self._start(settings)),
        )
        optimisation = settings.optimisation.with_steps(data.steps)
        timed = settings.model_copy(update={"optimisation": optimisation})
        with self._claimed(run, settings, fabric):
            self._train(task, timed, run, fabric)
            if fabric.is_global_zero:
                _write_student(student, run, start=self._start(settings), provenance=provenance)

    def refine(self, settings: RefinementConfig, run: Path, fabric: Fabric) -> None:
        """Teaches a checkpoint's decoder to read its own score maps, and writes another."""
        start = start_folder(settings.starts_from, runs=self.runs)
        student = self._load(start)
        before = read_provenance(start)
        first = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        task = new_refinement_task(
            settings,
            student=student,
            folder=start,
            calibration=read_calibration(start),
            composed=self.composed,
        )
        provenance = self._provenance(
            settings,
            stage=run.name,
            licences=before.get("licences", {}),
            terms=before.get("photographs", {}) | photograph_terms(task.dataset),
        )
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                mix_weights(student, first, learned=settings.learned)
                _write_student(student, run, start=start, provenance=provenance)

    def calibrate(self, settings: CalibrateConfig, fabric: Fabric) -> tuple[str, ...]:
        """Writes a checkpoint's `calibration.json`, and into its provenance how it came about.

        Returns:
            The thresholds that are left at their defaults, for want of masks.
        """
        return calibrate_checkpoint(
            self.runs / settings.checkpoint,
            settings,
            composed=self.composed,
            device=str(fabric.device),
            on_progress=self.on_progress,
        )

    def embed(self, settings: EmbeddingsConfig, fabric: Fabric) -> None:
        """Writes the CLIP teacher's embeddings, or the rest of them."""
        pair = self.pair(settings.teachers)
        fabric.to_device(pair.clip)
        crops = crops_to_embed(settings, pair=pair, on_progress=self._teller(fabric))
        fill_cache(
            settings.folder,
            crops,
            pair.clip,
            fingerprint=crops.fingerprint(teacher=pair.name, width=pair.clip.embed_dim),
            batch=settings.batch,
            workers=settings.workers,
            fabric=fabric,
            on_progress=self.on_progress,
        )

    def pair(self, teachers: Teachers) -> Pair:
        """The teachers of a merge."""
        if isinstance(teachers, FoundationTeachers):
            return FoundationPair(self.model, teachers)
        if isinstance(teachers, PhotographTeachers):
            return PhotographPair(self.model, runs=self.runs)
        if isinstance(teachers, MergedTeachers):
            return MergedPair(self.model, teachers.checkpoint)
        if self.clip_settings is None:
            raise TrainingError("the config has no stage clip_teacher, and no other teachers")
        return SmallPair(self.model, self.clip_settings, runs=self.runs)

    def _student(self, settings: DistillConfig, pair: Pair) -> SamClipModel:
        """Stage 0, or what an earlier stage left."""
        if settings.starts_from == "teachers":
            return pair.stage0(seed=settings.optimisation.seed)
        return self._load(start_folder(settings.starts_from, runs=self.runs))

    def _start(self, settings: DistillConfig) -> Path:
        """Where the student's text encoder comes from."""
        if settings.starts_from != "teachers":
            return start_folder(settings.starts_from, runs=self.runs)
        if isinstance(settings.teachers, MergedTeachers):
            return settings.teachers.checkpoint
        return self.runs / TEXT_ENCODER

    def _load(self, folder: Path) -> SamClipModel:
        student = resized(load_checkpoint(folder), self.model)
        if student.config != self.model:
            raise TrainingError(
                f"{folder} is of another model than {self.model.name}: its config.json differs "
                "from the preset"
            )
        return student

    def _teller(self, fabric: Fabric) -> OnProgress:
        return self.on_progress if fabric.is_global_zero else tell_nobody

    def _train(self, task: Task, settings: Trained, run: Path, fabric: Fabric) -> None:
        train(
            task,
            settings.optimisation,
            run,
            fabric=fabric,
            accumulate=batches_in_step(settings, processes=fabric.world_size),
            on_progress=self.on_progress,
        )

    def _claimed(
        self, run: Path, settings: Trained, fabric: Fabric
    ) -> AbstractContextManager[None]:
        """Last of all, so that a run that was refused leaves nothing behind."""
        made_with: dict[str, Any] = {"model": self.model.model_dump(mode="json")}
        batches = batches_in_step(settings, processes=fabric.world_size)
        made_with["batches_per_step"] = batches * fabric.world_size
        made_with |= settings.model_dump(mode="json")
        return claimed_run(run, made_with, allow_changes=self.allow_changes, fabric=fabric)

    def _provenance(
        self,
        settings: DistillConfig | RefinementConfig,
        *,
        stage: str,
        licences: dict[str, str],
        terms: dict[str, str],
        pair: Pair | None = None,
    ) -> dict[str, Any]:
        """How a stage's weights come about, down to the teachers.

        `nouns` counts those taught, `photographs` has the terms of each set.
        """
        if settings.starts_from == "teachers" and pair is not None:
            starts_from = pair.provenance()
        else:
            starts_from = read_provenance(start_folder(settings.starts_from, runs=self.runs))
        return {
            "stage": stage,
            **({"nouns": len(self.composed.nouns)} if self.clip_settings else {}),
            **({"licences": licences} if licences else {}),
            **({"photographs": terms} if terms else {}),
            "settings": settings.model_dump(mode="json"),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "starts_from": starts_from,
        }


def _write_student(
    student: SamClipModel, run: Path, *, start: Path, provenance: dict[str, Any]
) -> None:
    """Writes a checkpoint; a calibration that is there was of other weights, and goes."""
    (run / CALIBRATION_NAME).unlink(missing_ok=True)
    save_checkpoint(student, run, provenance=provenance)
    if isinstance(student.config.text_encoder, BertTextConfig):
        copy_tokenizer(start, run)


def _write_teacher(
    module: nn.Module, settings: ClipTeacherConfig | SamTeacherConfig, run: Path
) -> None:
    """Writes a teacher's weights, and the settings that say how to build it."""
    _write_settings(settings, run)
    save_teacher(module, run / WEIGHTS_NAME)


def _write_settings(settings: Trained, run: Path) -> None:
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(settings.model_dump_json(indent=2).encode())
