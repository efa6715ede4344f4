"""Embeddings of a lexicon's words, made of what MiniLM and WordNet know of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.system.progress import OnProgress, no_progress
from training.data_config import Settings
from training.text.lexicon import Place

_OWN = {"kind": 0.25, "hypernym": 0.4, "near": 0.7, "alone": 1.0}
"""Share of a word's own meaning in what it begins with; the rest is what it stands beside."""
_SMALLER = (0.5, 0.25, 0.1, 0.0)  # parts of that share, tried where it is too much
_PUSHES = 60  # at most, until nothing is too near
_SLACK = 5e-3  # of a cosine above the bound
_ROWS = 1024  # words at a time


class PartSettings(Settings):
    """The settings for moving taught words apart.

    Args:
        apart: the highest cosine of words that are not related.
        related_apart: the highest cosine of words with a common parent or grandparent.
        keep: weight of the loss that keeps words where they begin.
        steps: number of steps.
        learning_rate: of Adam.
    """

    apart: float = Field(default=0.35, gt=0, lt=1)
    related_apart: float = Field(default=0.6, gt=0, lt=1)
    keep: float = Field(default=0.02, ge=0)
    steps: int = Field(default=300, gt=0)
    learning_rate: float = Field(default=5e-3, gt=0)


@dataclass(frozen=True)
class Neighbours:
    """The relations of words to the taught ones: bool [N,G] each.

    Attributes:
        kin: what never competes.
        related: kin, and what has a parent or a grandparent in common.
    """

    kin: Tensor
    related: Tensor


def part_taught(
    first: Tensor,
    neighbours: Neighbours,
    *,
    movable: Tensor,
    settings: PartSettings,
    on_progress: OnProgress = no_progress,
) -> Tensor:
    """Moves taught words apart from those that they have nothing to do with; kin stay near.

    Args:
        first: where they begin, float32 [G,E], unit length.
        neighbours: of the taught words among themselves, [G,G].
        movable: bool [G], those that no classifier knows; the others stay.
        settings: of the stage.
        on_progress: told the steps.

    Returns:
        float32 [G,E], unit length.
    """
    bounds = torch.full(neighbours.kin.shape, settings.apart)
    bounds[neighbours.related] = settings.related_apart
    bounds[neighbours.kin] = torch.inf
    near = (first[movable] @ first.T).clamp(max=settings.related_apart)
    near[~neighbours.kin[movable]] = -torch.inf
    own = first[movable].clone().requires_grad_()
    # A short memory: what was pushed too far comes back.
    optimizer = torch.optim.Adam([own], lr=settings.learning_rate, betas=(0.9, 0.95))
    for step in range(settings.steps):
        moved = F.normalize(own, dim=-1)
        every = first.clone()
        every[movable] = moved
        cosines = moved @ every.T
        loss = F.relu(cosines - bounds[movable]).square().sum()
        loss = loss + F.relu(near - cosines).square().sum()
        loss = loss + settings.keep * (1 - (moved * first[movable]).sum(dim=1)).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_progress("moving taught words apart", step + 1, settings.steps)
    found = first.clone()
    found[movable] = F.normalize(own.detach(), dim=-1)
    return found


def choose_places(
    places: Sequence[Sequence[Place]], likeness: Tensor, *, related: Tensor
) -> list[Place]:
    """Chooses for each of N words the sense that it is taken in, and the taught words that count.

    Of several senses it is the one beside whose taught words MiniLM has the word; of these, too,
    the nearest counts, but all of a hypernym's kinds.

    Args:
        places: of each word, one a sense.
        likeness: MiniLM's cosines of the words and the taught ones, [N,G].
        related: bool [N,G].
    """
    return [_choose(senses, likeness[row], related[row]) for row, senses in enumerate(places)]


def _choose(senses: Sequence[Place], likeness: Tensor, related: Tensor) -> Place:
    best = max(senses, key=lambda each: max(likeness[[*each.words]].tolist(), default=-1.0))
    if not best.words and related.any():
        best = Place("near", tuple(related.nonzero().flatten().tolist()))
    if best.relation == "hypernym" or not best.words:
        return best
    return Place(best.relation, (max(best.words, key=lambda word: float(likeness[word])),))


def place_words(
    own: Tensor,
    chosen: Sequence[Place],
    table: Tensor,
    *,
    related: Tensor,
    apart: float,
) -> Tensor:
    """The embeddings of words that are not taught.

    A synonym has that of its word. The others are pushed away from taught words that they have
    nothing to do with, and the nearest taught word is the one that a kind stands beside, or one
    that is related.

    Args:
        own: what the text teacher makes of N words, [N,E], unit length.
        chosen: of `choose_places`.
        table: of the taught words, [G,E], unit length.
        related: bool [N,G].
        apart: the largest cosine with what is not related.

    Returns:
        float32 [N,E], unit length.
    """
    anchors, allowed = own.clone(), related.clone()
    shares = torch.tensor([[_OWN.get(place.relation, 0.0)] for place in chosen])
    for row, place in enumerate(chosen):
        words = [*place.words]
        if words:
            anchors[row] = table[words].mean(dim=0)
        if place.relation in ("kind", "synonym"):
            allowed[row] = False
        allowed[row, words] = True
    anchors = F.normalize(anchors, dim=-1)
    # What a word stands beside may itself be nearer to others: a rocket to a car, as a vehicle is.
    stands = torch.tensor([[bool(place.words)] for place in chosen])
    limits = torch.where(stands, (anchors @ table.T).clamp(min=apart), apart)
    limits[allowed | related] = torch.inf
    found = anchors.clone()
    wrong = torch.ones(len(own), dtype=torch.bool)
    for part in (1.0, *_SMALLER):
        rows = wrong.nonzero().squeeze(1)
        share = part * shares[rows]
        begin = F.normalize(share * own[rows] + (1 - share) * anchors[rows], dim=-1)
        found[rows] = _push(begin, table, limits=limits[rows])
        nearest = (found[rows] @ table.T).argmax(dim=1)
        right = allowed[rows].gather(1, nearest[:, None]).squeeze(1) | ~allowed[rows].any(dim=1)
        wrong[rows[right]] = False
    return found


def _push(words: Tensor, table: Tensor, *, limits: Tensor) -> Tensor:
    """Moves words [N,E] until no cosine with those of `table` [G,E] exceeds its limit [N,G]."""
    moved = []
    for rows in torch.split(torch.arange(len(words)), _ROWS):
        part, limit = words[rows], limits[rows]
        for _ in range(_PUSHES):
            over = F.relu(part @ table.T - limit)
            excess = over > _SLACK
            if not excess.any():
                break
            # Many that are alike must not push as often as they are.
            many = excess.sum(dim=1, keepdim=True).clamp(min=1)
            part = F.normalize(part - over @ table / many, dim=-1)
        moved.append(part)
    return torch.cat(moved)
