"""What the parts read: the folders of a training run, and composed drawings as what is asked.

What is asked, here drawings and in `photographed` photographs, has a `split`, `settings`, all
`names` that a picture is named among, and the same methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.paper.record import Accuracy, PaperSettings, TopK
from benchmarks.quality.behind_api import Teachers, find_teachers, open_teachers
from benchmarks.quality.drawings import Drawings, load_drawings, subset
from benchmarks.quality.measure import prompt_ious, questions
from benchmarks.quality.ranking import Rank, measure_ranking
from benchmarks.quality.record import HELDOUT, PromptIou
from samclip_sdk import SamClip
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from training.asked_pictures import AskedPicture
from training.composed.scenes import Scene
from training.config_file import find_config, load_stage
from training.stages.distill import DistillConfig
from training.teachers.photograph_pair import CLIP, PARTS, SAM, PhotographPair
from training.teachers.teacher_pair import WEIGHTS_NAME, SmallPair

TUNING_SCENES = 30
TRAIN_PICTURES, TRAIN_SCENES = 6, 4
"""That probes are trained on, for each one that is tested."""

_VALIDATION_OF = 5  # one in so many training drawings is kept from the probes' training
_PATCHES = 40_000

Classify = Callable[[Sequence[str]], Rank]
"""Names to a classifier among them."""

EmbedText = Callable[[list[str]], np.ndarray]
"""K texts to unit embeddings [K,E]."""


@dataclass(frozen=True)
class ProbeData:
    """What linear probes are trained, chosen and tested on: pictures and scenes, all square.

    `pictures` are to train on and to choose by, each with an `image` and a `label` of so many;
    `test` asks a classifier about others, a text is for the progress bar. `scenes` are to train on,
    to choose by and to test. `background` is the class of a pixel that is of no noun; nouns come
    before it. A segmentation probe is trained on so many `patches` at most, drawn by the seed.
    """

    pictures: tuple[Sequence[Any], Sequence[Any]]
    labels: int
    test: Callable[[Rank, str], Accuracy]
    scenes: tuple[Sequence[Scene], Sequence[Scene], Sequence[Scene]]
    background: int
    patches: int
    seed: int


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
    """Those of a run on photographs; its student is the last that is there if nobody says which.

    Where the SAM teacher was not kept, the student has what it became.
    """
    there = [name for name in _PHOTOGRAPHS if (run / name / WEIGHTS_NAME).is_file()]
    shipped = student or (there or ["stage3"])[-1]
    before = there[: there.index(shipped)] if shipped in there else there
    teachers = PARTS if (run / SAM / WEIGHTS_NAME).is_file() else (CLIP,)
    return Stages(teachers, (*before, shipped))


@dataclass(frozen=True)
class Inputs:
    """One run's teachers, frozen modules of RUNS/CONFIG, its checkpoints, and what they are asked.

    The short trainings start from the settings of `stage2`; None where there are none.
    """

    pair: SmallPair | PhotographPair
    asked: Any
    stages: Stages
    stage2: DistillConfig | None = None

    @property
    def sam_is_student(self) -> bool:
        """Whether the student itself stands for the SAM teacher, which was not kept."""
        return isinstance(self.pair, PhotographPair) and self.pair.merged is not None

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return open_teachers(self.pair)

    def student(self, stage: str | None = None) -> SamClipModel:
        """The student as a stage left it, or the last, in eval mode and without gradients."""
        folder = self.pair.runs / (stage or self.stages.shipped)
        return load_checkpoint(folder).requires_grad_(False)

    def weights(self, folders: Sequence[str]) -> dict[str, str]:
        """The first 16 digits of the sha256 of each folder's weights."""
        return {name: file_sha256(self.pair.runs / name / WEIGHTS_NAME)[:16] for name in folders}


@dataclass(frozen=True)
class ComposedDrawings:
    """Drawings and backgrounds that no training saw."""

    settings: PaperSettings
    split: str = HELDOUT

    @cached_property
    def drawings(self) -> tuple[Drawings, Drawings]:
        """The held-out drawings, and those that training used."""
        (heldout, *_), train = load_drawings(self.settings, openmoji=None)
        return heldout, train

    @property
    def names(self) -> tuple[str, ...]:
        """The nouns that were taught."""
        return self.drawings[0].nouns

    def accuracy(self, classify: Classify, *, name: str) -> Accuracy:
        """Top-1 and top-5 over the nouns, on clean and on composed pictures."""
        rows = measure_ranking(classify(self.names), self.drawings[0], who="model", name=name)
        return {row.picture: TopK(**row.model_dump(include=set(TopK.model_fields))) for row in rows}

    def prompts(self, model: SamClip, *, who: str, name: str) -> PromptIou:
        """Every object of the scenes, by its box and by a point."""
        return prompt_ious(model, self.drawings[0], who=who, name=name)

    def questions(self, embed_text: EmbedText) -> Iterator[AskedPicture]:
        """Scenes with their own labels and with absent ones, the first of them a near one."""
        scenes = questions(self.drawings[0], embed_text, shown="text-to-mask: scenes")
        return (asked for _, asked in scenes)

    def tuning(self, embed_text: EmbedText) -> Sequence[AskedPicture]:
        """Scenes of training drawings, to choose thresholds by."""
        train, _ = self.training(pictures=1, scenes=TUNING_SCENES)
        scenes = questions(train, embed_text, shown="scenes to choose thresholds by")
        return [asked for _, asked in scenes]

    def probe_data(self) -> ProbeData:
        """Training drawings to train on and to choose by; the test is of held-out ones."""
        asked, nouns = self.settings, len(self.names)
        train, validation = self.training(
            pictures=TRAIN_PICTURES * asked.pictures, scenes=TRAIN_SCENES * asked.scenes
        )
        parts = (train, validation, self.drawings[0])
        return ProbeData(
            pictures=(list(train.composed()), list(validation.composed())),
            labels=nouns,
            test=lambda rank, name: self.accuracy(lambda _: rank, name=name),
            scenes=tuple([scene for scene, _ in each.scenes()] for each in parts),
            background=nouns,
            patches=_PATCHES,
            seed=asked.seed,
        )

    def training(self, *, pictures: int, scenes: int) -> tuple[Drawings, Drawings]:
        """So many training drawings over training backgrounds, and others to choose by.

        Of these there are as many as are measured.
        """
        _, every = self.drawings
        chosen = np.arange(len(every.corpus.labels)) % _VALIDATION_OF == 0
        asked = self.settings.model_copy(update={"pictures": pictures, "scenes": scenes})
        return (
            replace(every, corpus=subset(every.corpus, ~chosen), settings=asked),
            replace(every, corpus=subset(every.corpus, chosen), split="validation"),
        )


def open_drawings(run: Path, *, pictures: int, scenes: int, steps: int, seed: int) -> Inputs:
    """Reads what RUNS/CONFIG is of; its weights are loaded when they are first needed."""
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
    return Inputs(pair, ComposedDrawings(asked), DRAWINGS, stage2)
