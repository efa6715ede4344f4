"""What the parts read: the folders of a training run, and pictures of the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.paper.record import PaperSettings
from benchmarks.quality.behind_api import Teachers, find_teachers, open_teachers
from benchmarks.quality.drawings import Drawings, load_drawings, subset
from samclip_sdk.bundle.open import file_sha256
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from training.config import DistillConfig
from training.config_file import find_config, load_stage
from training.teachers.teacher_pair import WEIGHTS_NAME, SmallPair

_VALIDATION_OF = 5  # one in so many training drawings is kept from the probes' training


@dataclass(frozen=True)
class Inputs:
    """One run's teachers and checkpoints, and the pictures to measure them on.

    `pair` are both teachers as modules, frozen, of the run's folder, RUNS/CONFIG, which has one for
    each stage. The short trainings start from the settings of the joint distillation, `stage2`.
    """

    pair: SmallPair
    stage2: DistillConfig
    settings: PaperSettings

    @property
    def run(self) -> Path:
        """RUNS/CONFIG."""
        return self.pair.runs

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return open_teachers(self.pair)

    @property
    def heldout(self) -> Drawings:
        """Drawings and backgrounds that no training saw."""
        return self._drawings[0][0]

    def training(self, *, pictures: int, scenes: int) -> tuple[Drawings, Drawings]:
        """Training drawings over training backgrounds, for the probes.

        So many to train on, and as many as are measured of other drawings, to choose by.
        """
        _, every = self._drawings
        chosen = np.arange(len(every.corpus.labels)) % _VALIDATION_OF == 0
        asked = self.settings.model_copy(update={"pictures": pictures, "scenes": scenes})
        return (
            replace(every, corpus=subset(every.corpus, ~chosen), settings=asked),
            replace(every, corpus=subset(every.corpus, chosen), split="validation"),
        )

    def student(self, stage: str) -> SamClipModel:
        """The student as a stage left it, in eval mode and without gradients."""
        return load_checkpoint(self.run / stage).requires_grad_(False)

    def weights(self, folders: Sequence[str]) -> dict[str, str]:
        """The first 16 digits of the sha256 of each folder's weights."""
        return {name: file_sha256(self.run / name / WEIGHTS_NAME)[:16] for name in folders}

    @cached_property
    def _drawings(self) -> tuple[tuple[Drawings, ...], Drawings]:
        return load_drawings(self.settings, openmoji=None)


def open_inputs(run: Path, *, pictures: int, scenes: int, steps: int, seed: int) -> Inputs:
    """Reads what RUNS/CONFIG is of; its weights are loaded when they are first needed.

    Raises:
        OSError: there is no CLIP teacher.
        ValueError: the folder is not named after a config with a stage2.
    """
    stage2 = load_stage(find_config(run.name), "stage2")
    if not isinstance(stage2, DistillConfig):
        raise ValueError(f"stage2 of the config {run.name} is no distillation")
    pair = find_teachers(run)
    asked = PaperSettings(
        nouns=pair.clip_settings.nouns,
        pictures=pictures,
        scenes=scenes,
        size_px=pair.model.segmentation_resolution,
        seed=seed,
        steps=steps,
    )
    return Inputs(pair, stage2, asked)
