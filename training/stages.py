"""Puts teachers, student and data together for each kind of stage, and writes its result."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.system.progress import OnProgress, no_progress
from training.calibration_stage import calibrate_checkpoint
from training.config import (
    CalibrateConfig,
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    FoundationTeachers,
    JointConfig,
    PhotographTeachers,
    SamTeacherConfig,
    Teachers,
    start_folder,
)
from training.errors import TrainingError, TrainingWarning
from training.joint_stage import new_joint_task
from training.lexicon_stage import make_lexicon
from training.loop.run_folder import claimed_run
from training.loop.train import train
from training.merge_data import MergeData, crops_to_embed
from training.photograph_stages import new_cell_task
from training.provenance import stage_provenance
from training.real.embedding_cache import fill_cache
from training.sources import (
    VALIDATION_SEED,
    Composed,
    batches_of,
    photograph_terms,
)
from training.stage_files import go_on, write_settings, write_student, write_teacher
from training.step_size import Trained, batches_in_step
from training.student_texts import embed_names
from training.tasks.distill import DistillTask
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask, Task
from training.teachers.captions import Captions
from training.teachers.classifier_clip import save_classifier_clip
from training.teachers.efficientnet_lite import LICENCE, load_lite2
from training.teachers.photograph_pair import TEXT_ENCODER, PhotographPair
from training.teachers.small import SmallSam, load_prompt_parts
from training.teachers.teacher_pair import (
    WEIGHTS_NAME,
    FoundationPair,
    Pair,
    SmallPair,
    new_clip,
)
from training.teachers.weights import give_weights, read_weights
from training.text_config import (
    LexiconConfig,
    TextEncoderTrainingConfig,
    TextTeacherConfig,
)
from training.text_stages import make_text_teacher, train_text_encoder

_NOUNS = 150  # of composed data, where the config trains no CLIP teacher that says how many


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
        on_progress: OnProgress = no_progress,
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
        go_on(clip, settings.starts_from)
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
                write_teacher(clip, settings, run)

    def _train_classifier_clip(
        self, settings: ClassifierClipConfig, run: Path, fabric: Fabric
    ) -> None:
        """Trains the head of the CLIP teacher that knows photographs."""
        task = new_cell_task(settings, model=self.model, runs=self.runs)
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                write_settings(settings, run)
                save_classifier_clip(task.clip, run / WEIGHTS_NAME)

    def _train_sam_teacher(self, settings: SamTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small SAM."""
        seed = settings.optimisation.seed
        sam = SmallSam(build_model(self.model, seed=seed))
        if settings.backbone is not None:
            load_lite2(sam.image_encoder)
        if settings.prompts_from is not None:
            load_prompt_parts(sam, settings.prompts_from / WEIGHTS_NAME)
        go_on(sam, settings.starts_from)
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
                write_teacher(sam, settings, run)

    def fit_words(self, settings: TextTeacherConfig | LexiconConfig, run: Path) -> None:
        """Fits the text teacher to a classifier, or makes the lexicon of it."""
        if isinstance(settings, LexiconConfig):
            make_lexicon(settings, run, on_progress=self.on_progress)
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
        provenance = stage_provenance(
            settings,
            stage=run.name,
            runs=self.runs,
            nouns=self._noun_count,
            licences=pair.licences(),
            terms=terms,
            pair=pair,
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
                write_student(student, run, start=self._start(settings), provenance=provenance)

    def train_jointly(self, settings: JointConfig, run: Path, fabric: Fabric) -> None:
        """Trains all parts but the text encoder on labelled photographs; writes a checkpoint."""
        task = new_joint_task(
            settings,
            model=self.model,
            runs=self.runs,
            processes=fabric.world_size,
            on_progress=self._teller(fabric),
        )
        student, text_encoder = task.student, self.runs / TEXT_ENCODER
        path = text_encoder / WEIGHTS_NAME
        give_weights(student.text_encoder, read_weights(path), path)
        provenance = stage_provenance(
            settings,
            stage=run.name,
            runs=self.runs,
            nouns=self._noun_count,
            licences={"sam": LICENCE, "clip": LICENCE},
            terms=photograph_terms(task.dataset),
        )
        with self._claimed(run, settings, fabric):
            self._train(task, settings, run, fabric)
            if fabric.is_global_zero:
                write_student(student, run, start=text_encoder, provenance=provenance)

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
        return self.runs / TEXT_ENCODER

    def _load(self, folder: Path) -> SamClipModel:
        student = load_checkpoint(folder)
        if student.config != self.model:
            raise TrainingError(
                f"{folder} is of another model than {self.model.name}: its config.json differs "
                "from the preset"
            )
        return student

    @property
    def _noun_count(self) -> int | None:
        return len(self.composed.nouns) if self.clip_settings else None

    def _teller(self, fabric: Fabric) -> OnProgress:
        return self.on_progress if fabric.is_global_zero else no_progress

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
