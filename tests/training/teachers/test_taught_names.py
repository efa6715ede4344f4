"""Names that move to what is seen under them, and no further than it pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.training.text.random_sentences import RandomSentences
from training.data_config import Photographs
from training.errors import TrainingError
from training.teachers.taught_names import (
    Seen,
    first_embeddings,
    fit_names,
    read_name_provenance,
    read_names,
    save_names,
)
from training.teachers.text_teacher import ClassifierSpace, TextTeacher
from training.text.class_names import imagenet_lemmas
from training.text_config import TaughtNamesConfig

SETTINGS = TaughtNamesConfig(
    task="taught_names",
    model="none",
    photographs=Photographs(source="photographs", root=Path("none")),
    steps=60,
    batch=32,
    learning_rate=2e-2,
    keep=0.1,
)
NAMES, WIDTH = 4, 8


def unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, WIDTH, generator=generator), dim=-1)


@pytest.fixture
def seen() -> Seen:
    """Names 0 to 2 in twelve sights each, all of them far from what the names say."""
    centres = unit(3, seed=1).repeat_interleave(12, dim=0)
    present = torch.zeros(36, NAMES, dtype=torch.bool)
    present[torch.arange(36), torch.arange(36) // 12] = True
    return Seen(F.normalize(centres + 0.2 * unit(36, seed=2), dim=-1), present)


def right(names: Tensor, seen: Seen) -> float:
    found = (seen.features @ names[:3].T).argmax(dim=1)
    return float(seen.present[torch.arange(36), found].float().mean())


def test_names_move_to_what_is_seen_under_them(seen: Seen) -> None:
    first = unit(NAMES, seed=3)
    fitted = fit_names(first, seen, SETTINGS)
    assert right(first, seen) < 0.7
    assert right(fitted, seen) == 1
    torch.testing.assert_close(fitted.norm(dim=1), torch.ones(NAMES))


def test_a_name_that_nothing_shows_stays(seen: Seen) -> None:
    first = unit(NAMES, seed=3)
    assert torch.equal(fit_names(first, seen, SETTINGS)[3], first[3])


def test_names_are_held_where_they_were(seen: Seen) -> None:
    first = unit(NAMES, seed=3)
    near, far = (
        (fit_names(first, seen, SETTINGS.model_copy(update={"keep": keep})) * first).sum(dim=1)
        for keep in (10.0, 0.01)
    )
    assert near.min() > 0.99 > far[:3].max()


def test_the_same_seed_gives_the_same_names(seen: Seen) -> None:
    first = unit(NAMES, seed=3)
    assert torch.equal(fit_names(first, seen, SETTINGS), fit_names(first, seen, SETTINGS))


def test_a_class_leans_to_its_own_direction() -> None:
    torch.manual_seed(0)
    teacher = TextTeacher(ClassifierSpace.of(torch.randn(1000, 12), embed_dim=WIDTH), hidden_dim=8)
    teacher.__dict__["sentences"] = RandomSentences()
    plain, leaning = (
        first_embeddings(teacher, ["goldfish", "dragon"], template="a {}", class_weight=weight)
        for weight in (0.0, 2.0)
    )
    assert {lemma for lemmas in imagenet_lemmas() for lemma in lemmas} | {"dragon"} == {*plain}
    goldfish = F.normalize(teacher.space.class_directions[1], dim=0)
    assert leaning["goldfish"] @ goldfish > plain["goldfish"] @ goldfish
    assert torch.equal(leaning["dragon"], plain["dragon"])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    names = dict(zip(("a cat", "dog"), unit(2, seed=4), strict=True))
    save_names(names, tmp_path, provenance={"stage": "taught_names"})
    found = read_names(tmp_path)
    assert {*found} == {*names}
    assert all(torch.equal(found[name], names[name]) for name in names)
    assert read_name_provenance(tmp_path) == {"stage": "taught_names"}


def test_no_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="run the stage taught_names first"):
        read_names(tmp_path / "taught_names")
