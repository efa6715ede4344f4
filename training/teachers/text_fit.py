"""Fits the text teacher's map to a classifier: names to classes, and nouns to their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.system.progress import OnProgress, no_progress
from training.teachers.text_teacher import TextTeacher
from training.text.class_names import ClassNames

_LOGIT_SCALE = 20.0
_NAMES_PER_STEP, _NOUNS_PER_STEP = 512, 512
_LEARNING_RATE, _WEIGHT_DECAY = 3e-3, 0.05  # of AdamW, the rate at its highest
_NOISE = 0.015  # standard deviation, on sentence embeddings
_DIRECT = 20.0  # times as often as another name a class's first one is drawn
_NEIGHBOURS = 3.0  # weight of the loss that keeps nouns near their neighbours


@dataclass(frozen=True)
class Lessons:
    """Sentence embeddings [...,384] of unit length, and what they are to become.

    Attributes:
        names: [T,N,384], each of N names in each of T templates.
        classes: [N,C], the share of each class in a name; rows sum to 1.
        direct: bool [N], which are a class's first name.
        nouns: [M,384] of nouns that are no class.
    """

    names: Tensor
    classes: Tensor
    direct: Tensor
    nouns: Tensor


def collect_lessons(
    teacher: TextTeacher,
    names: ClassNames,
    *,
    nouns: Sequence[str],
    templates: Sequence[str],
    on_progress: OnProgress = no_progress,
) -> Lessons:
    """Embeds names and nouns with MiniLM, in templates where {} stands for them.

    The teacher's `sentence_mean` becomes that of all of them.
    """
    texts = [template.replace("{}", name) for template in templates for name in names.names]
    texts += [templates[i % len(templates)].replace("{}", noun) for i, noun in enumerate(nouns)]
    found = teacher.sentences(texts, on_progress=on_progress)
    teacher.sentence_mean.copy_(found.mean(dim=0))
    many = len(templates) * len(names.names)
    first = set(names.direct)
    return Lessons(
        names=found[:many].reshape(len(templates), len(names.names), -1),
        classes=names.classes,
        direct=torch.tensor([name in first for name in names.names]),
        nouns=found[many:],
    )


def fit(
    teacher: TextTeacher,
    lessons: Lessons,
    *,
    steps: int,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> None:
    """Trains the teacher's map.

    A name is drawn to the mean direction of its classes, by cosine, and among all classes, by a
    cross-entropy. Nouns keep the cosines to one another and to the names that MiniLM gave them.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = teacher.space.class_directions
    aims = F.normalize(lessons.classes @ directions, dim=-1)
    weights = torch.where(lessons.direct, _DIRECT, 1.0)
    optimizer = torch.optim.AdamW(
        teacher.mlp.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        rows = torch.multinomial(weights, _NAMES_PER_STEP, replacement=True, generator=generator)
        texts = _embed(teacher, lessons.names, rows, generator)
        loss = 1 - (texts * aims[rows]).sum(dim=1).mean()
        loss = loss + F.cross_entropy(_LOGIT_SCALE * texts @ directions.T, lessons.classes[rows])
        if len(lessons.nouns):
            loss = loss + _NEIGHBOURS * _moved(teacher, lessons.nouns, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        schedule.step()
        on_progress(f"fitting names to classes, loss {loss.item():.3f}", step + 1, steps)


def _embed(
    teacher: TextTeacher, sentences: Tensor, rows: Tensor, generator: torch.Generator
) -> Tensor:
    """Maps `rows` [n] of sentences [T,N,384], each in a template drawn for it, with noise added."""
    templates = torch.randint(len(sentences), rows.shape, generator=generator)
    centred = teacher.centre(sentences[templates, rows])
    return teacher.project(centred + _NOISE * torch.randn(centred.shape, generator=generator))


def _moved(teacher: TextTeacher, nouns: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the mean squared change of the cosines between nouns [M,384] by the map."""
    rows = torch.randint(len(nouns), (_NOUNS_PER_STEP,), generator=generator)
    before = teacher.centre(nouns[rows])
    after = teacher.project(before)
    return (after @ after.T - before @ before.T).square().mean()


def measure_names(teacher: TextTeacher, names: ClassNames, *, template: str) -> dict[str, float]:
    """The share of names that are nearest to their own class, of all classes.

    Returns:
        `direct`, of the classes' first names; `held_out`, of synonyms that were left out, if any.
    """
    questions = {"direct": list(zip(names.direct, range(len(names.direct)), strict=True))}
    questions["held_out"] = list(names.held_out)
    shares = {}
    for question, asked in questions.items():
        if asked:
            found = teacher.embed([template.replace("{}", name) for name, _ in asked])
            nearest = (found @ teacher.space.class_directions.T).argmax(dim=1)
            right = nearest == torch.tensor([index for _, index in asked])
            shares[question] = round(right.float().mean().item(), 4)
    return shares
