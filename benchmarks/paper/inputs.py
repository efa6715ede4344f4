"""What the parts read: the folders of a training run, and pictures of the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.paper.record import PaperSettings
from benchmarks.quality.behind_api import Teachers, join_teachers
from benchmarks.quality.drawings import Drawings, subset, without_copies
from benchmarks.quality.record import HELDOUT
from samclip_sdk.bundle.open import file_sha256
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from samclip_sdk.modeling.config import ModelConfig
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.vocabulary import tiny_vocabulary
from training.config import ClipTeacherConfig, DistillConfig
from training.config_file import find_config, load_model, load_stage
from training.teachers.teacher_pair import SETTINGS_NAME, WEIGHTS_NAME, SmallPair

_VALIDATION_OF = 5  # one in so many training drawings is kept from the probes' training


@dataclass(frozen=True)
class Inputs:
    """One run's teachers and checkpoints, and the pictures to measure them on.

    `run` is RUNS/CONFIG, with a folder for each stage, `model` the student's config. The short
    trainings start from the settings of the joint distillation, `stage2`.
    """

    run: Path
    model: ModelConfig
    clip_settings: ClipTeacherConfig
    stage2: DistillConfig
    settings: PaperSettings

    @cached_property
    def pair(self) -> SmallPair:
        """Both teachers as modules, frozen."""
        return SmallPair(self.model, self.clip_settings, runs=self.run)

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return join_teachers(self.pair.clip, self.pair.sam, config=self.model)

    @cached_property
    def heldout(self) -> Drawings:
        """Drawings and backgrounds that no training saw."""
        corpus = load_corpus(CORPUS, split=HELDOUT, nouns=self._nouns)
        kept = without_copies(corpus, of=self._train)
        return Drawings(HELDOUT, kept, len(self._nouns), self.settings)

    def training(self, *, pictures: int, scenes: int) -> tuple[Drawings, Drawings]:
        """Training drawings over training backgrounds, for the probes.

        So many to train on, and as many as are measured of other drawings, to choose by.
        """
        chosen = np.arange(len(self._train.labels)) % _VALIDATION_OF == 0
        asked = self.settings.model_copy(update={"pictures": pictures, "scenes": scenes})
        count = len(self._nouns)
        return (
            Drawings("train", subset(self._train, ~chosen), count, asked),
            Drawings("validation", subset(self._train, chosen), count, self.settings),
        )

    def student(self, stage: str) -> SamClipModel:
        """The student as a stage left it, in eval mode and without gradients."""
        return load_checkpoint(self.run / stage).requires_grad_(False)

    def weights(self, folders: Sequence[str]) -> dict[str, str]:
        """The first 16 digits of the sha256 of each folder's weights."""
        return {name: file_sha256(self.run / name / WEIGHTS_NAME)[:16] for name in folders}

    @cached_property
    def _nouns(self) -> list[str]:
        return [noun.name for noun in tiny_vocabulary(self.settings.nouns)]

    @cached_property
    def _train(self) -> Corpus:
        return load_corpus(CORPUS, split="train", nouns=self._nouns)


def check_folders(run: Path, folders: Sequence[str]) -> None:
    """Makes sure that stages of a run are there, before anything is measured.

    Raises:
        BundleError: one is missing, or not finished.
    """
    for name in folders:
        for file in (WEIGHTS_NAME, SETTINGS_NAME):
            if not (run / name / file).is_file():
                raise BundleError(
                    f"{run / name} has no {file}: run `python -m training {name}` to its end first"
                )


def open_inputs(run: Path, *, pictures: int, scenes: int, steps: int, seed: int) -> Inputs:
    """Reads what RUNS/CONFIG is of; its weights are loaded when they are first needed.

    Raises:
        BundleError: there is no finished CLIP teacher.
        ValueError: the folder is not named after a config with a stage2.
    """
    config = find_config(run.name)
    check_folders(run, ["clip_teacher"])
    settings = (run / "clip_teacher" / SETTINGS_NAME).read_text(encoding="utf-8")
    clip_settings = ClipTeacherConfig.model_validate_json(settings)
    stage2, model = load_stage(config, "stage2"), load_model(config)
    if not isinstance(stage2, DistillConfig):
        raise ValueError(f"stage2 of the config {run.name} is no distillation")
    asked = PaperSettings(
        nouns=clip_settings.nouns,
        pictures=pictures,
        scenes=scenes,
        size_px=model.segmentation_resolution,
        seed=seed,
        steps=steps,
    )
    return Inputs(run, model, clip_settings, stage2, asked)
