"""Composed drawings as what is asked, of the repository's corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.paper.inputs import DRAWINGS, Classify, EmbedText, Inputs
from benchmarks.paper.probe_data import ProbeData
from benchmarks.paper.record import Accuracy, PaperSettings, TopK
from benchmarks.quality.behind_api import find_teachers
from benchmarks.quality.drawings import Drawings, load_drawings, subset
from benchmarks.quality.measure import ask_scene, prompt_ious, questions
from benchmarks.quality.ranking import measure_ranking
from benchmarks.quality.record import HELDOUT, PromptIou
from samclip_sdk import SamClip
from training.asked_pictures import AskedPicture
from training.config import DistillConfig
from training.config_file import find_config, load_stage

TUNING_SCENES = 30

_VALIDATION_OF = 5  # one in so many training drawings is kept from the probes' training
_TRAIN_PICTURES = 6  # for each picture that is tested
_TRAIN_SCENES = 4
_PATCHES = 40_000


@dataclass(frozen=True)
class ComposedDrawings:
    """Drawings and backgrounds that no training saw, an `Asked`."""

    settings: PaperSettings
    split: str = HELDOUT

    @property
    def names(self) -> tuple[str, ...]:
        """The nouns that were taught."""
        return self.heldout.nouns

    @property
    def heldout(self) -> Drawings:
        """The held-out drawings."""
        return self._drawings[0][0]

    def accuracy(self, classify: Classify, *, name: str) -> Accuracy:
        """Top-1 and top-5 over the nouns, on clean and on composed pictures."""
        rows = measure_ranking(classify(self.names), self.heldout, who="model", name=name)
        return {
            row.picture: TopK(
                labels=row.labels, pictures=row.pictures, top1=row.top1, top5=row.top5
            )
            for row in rows
        }

    def prompts(self, model: SamClip, *, who: str, name: str) -> PromptIou:
        """Every object of the scenes, by its box and by a point."""
        return prompt_ious(model, self.heldout, who=who, name=name)

    def questions(self, embed_text: EmbedText) -> Iterator[AskedPicture]:
        """Scenes with their own labels and with absent ones, the first of them a near one."""
        return _ask(self.heldout, embed_text, shown="text-to-mask: scenes")

    def tuning(self, embed_text: EmbedText) -> Sequence[AskedPicture]:
        """Scenes of training drawings."""
        train, _ = self.training(pictures=1, scenes=TUNING_SCENES)
        return list(_ask(train, embed_text, shown="scenes to choose thresholds by"))

    def probe_data(self) -> ProbeData:
        """Training drawings to train on and to choose by; the test is of held-out ones."""
        asked, heldout = self.settings, self.heldout
        train, validation = self.training(
            pictures=_TRAIN_PICTURES * asked.pictures, scenes=_TRAIN_SCENES * asked.scenes
        )
        return ProbeData(
            pictures=(list(train.composed()), list(validation.composed())),
            labels=len(heldout.nouns),
            test=lambda rank, name: self.accuracy(lambda _: rank, name=name),
            scenes=tuple(
                [scene for scene, _ in each.scenes()] for each in (train, validation, heldout)
            ),
            background=len(heldout.nouns),
            patches=_PATCHES,
            seed=asked.seed,
        )

    def training(self, *, pictures: int, scenes: int) -> tuple[Drawings, Drawings]:
        """Training drawings over training backgrounds.

        So many to train on, and as many as are measured of other drawings, to choose by.
        """
        _, every = self._drawings
        chosen = np.arange(len(every.corpus.labels)) % _VALIDATION_OF == 0
        asked = self.settings.model_copy(update={"pictures": pictures, "scenes": scenes})
        return (
            replace(every, corpus=subset(every.corpus, ~chosen), settings=asked),
            replace(every, corpus=subset(every.corpus, chosen), split="validation"),
        )

    @cached_property
    def _drawings(self) -> tuple[tuple[Drawings, ...], Drawings]:
        return load_drawings(self.settings, openmoji=None)


def open_drawings(run: Path, *, pictures: int, scenes: int, steps: int, seed: int) -> Inputs:
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
    return Inputs(pair, ComposedDrawings(asked), DRAWINGS, stage2)


def _ask(drawings: Drawings, embed_text: EmbedText, *, shown: str) -> Iterator[AskedPicture]:
    bare = embed_text(list(drawings.nouns))
    for scene, question in questions(drawings, bare, shown=shown):
        yield ask_scene(scene, question, nouns=drawings.nouns)
