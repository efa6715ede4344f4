"""What the parts read: the folders of a training run, and what is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from benchmarks.paper.probe_data import ProbeData
from benchmarks.paper.record import Accuracy, PaperSettings, PhotographSettings
from benchmarks.quality.behind_api import Teachers, open_teachers
from benchmarks.quality.ranking import Rank
from benchmarks.quality.record import PromptIou
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import file_sha256
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from training.asked_pictures import AskedPicture
from training.config import DistillConfig
from training.teachers.photograph_pair import PARTS, PhotographPair
from training.teachers.teacher_pair import WEIGHTS_NAME, SmallPair

Classify = Callable[[Sequence[str]], Rank]
"""Names to a classifier among them."""

EmbedText = Callable[[list[str]], np.ndarray]
"""K texts to unit embeddings [K,E]."""


class Asked(Protocol):
    """What models are asked: composed drawings or photographs that no training saw.

    Attributes:
        split: which side of the split they are of.
        settings: which of them, and how many.
        names: all that a picture is named among, no two the same to a tokenizer.
    """

    split: str
    settings: PaperSettings | PhotographSettings

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        ...

    def accuracy(self, classify: Classify, *, name: str) -> Accuracy:
        """Asks a classifier what pictures show; `name` is for the progress bar."""
        ...

    def prompts(self, model: SamClip, *, who: str, name: str) -> PromptIou:
        """Asks for masks of boxes and of points."""
        ...

    def questions(self, embed_text: EmbedText) -> Iterator[AskedPicture]:
        """Pictures with labels that they show and some that they do not."""
        ...

    def tuning(self, embed_text: EmbedText) -> Sequence[AskedPicture]:
        """The same of pictures that are not measured, to choose thresholds by."""
        ...

    def probe_data(self) -> ProbeData:
        """What linear probes are trained and tested on."""
        ...


class Stages(NamedTuple):
    """The folders of a run: `students` in the order of the stages, the one that ships the last."""

    teachers: tuple[str, ...]
    students: tuple[str, ...]

    @property
    def shipped(self) -> str:
        """The student that is measured."""
        return self.students[-1]


DRAWINGS = Stages(("clip_teacher", "sam_teacher"), ("stage2", "stage3"))
_PHOTOGRAPHS = ("stage1", "stage3", "refinement")


def photograph_stages(run: Path, *, student: str | None) -> Stages:
    """Those of a run on photographs; its student is the last that is there if nobody says which."""
    there = [name for name in _PHOTOGRAPHS if (run / name / WEIGHTS_NAME).is_file()]
    shipped = student or (there or ["stage3"])[-1]
    place = _PHOTOGRAPHS.index(shipped) if shipped in _PHOTOGRAPHS else len(_PHOTOGRAPHS)
    before = [name for name in there if _PHOTOGRAPHS.index(name) < place]
    return Stages(PARTS, (*before, shipped))


@dataclass(frozen=True)
class Inputs:
    """One run's teachers and checkpoints, and what they are asked.

    `pair` are both teachers as modules, frozen, of the run's folder, RUNS/CONFIG, which has one for
    each stage. The short trainings start from the settings of the joint distillation, `stage2`;
    None where there are none.
    """

    pair: SmallPair | PhotographPair
    asked: Asked
    stages: Stages
    stage2: DistillConfig | None = None

    @property
    def run(self) -> Path:
        """RUNS/CONFIG."""
        return self.pair.runs

    @property
    def settings(self) -> PaperSettings | PhotographSettings:
        """What was asked."""
        return self.asked.settings

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return open_teachers(self.pair)

    def student(self, stage: str | None = None) -> SamClipModel:
        """The student as a stage left it, or the last, in eval mode and without gradients."""
        return load_checkpoint(self.run / (stage or self.stages.shipped)).requires_grad_(False)

    def weights(self, folders: Sequence[str]) -> dict[str, str]:
        """The first 16 digits of the sha256 of each folder's weights."""
        return {name: file_sha256(self.run / name / WEIGHTS_NAME)[:16] for name in folders}
