"""Embeddings of a lexicon's words, made of what MiniLM and WordNet know of them together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.system.progress import OnProgress, no_progress
from training.text.lexicon import Place

_OWN = {"kind": 0.25, "hypernym": 0.4, "near": 0.7, "alone": 1.0}
"""Share of a word's own meaning in what it begins with; the rest is what it stands beside."""
_SMALLER = (0.5, 0.25, 0.1, 0.0)  # parts of that share, tried where it is too much
_RELATED_APART = 0.6  # the highest cosine of taught words with a common parent or grandparent
_KEEP = 0.02  # weight of the loss that keeps taught words where they begin
_LEARNING_RATE = 5e-3  # of Adam
_PUSHES = 60  # at most, until nothing is too near
_SLACK = 5e-3  # of a cosine above the bound
_ROWS = 1024  # words at a time


def part_taught(
    first: Tensor,
    *,
    kin: Tensor,
    related: Tensor,
    movable: Tensor,
    apart: float,
    steps: int,
    on_progress: OnProgress = no_progress,
) -> Tensor:
    """Moves taught words apart from those that they have nothing to do with; kin stay near.

    Args:
        first: where they begin, float32 [G,E], unit length, as what is returned.
        kin: bool [G,G], what never competes.
        related: bool [G,G], kin, and what has a parent or a grandparent in common.
        movable: bool [G], those that no classifier knows; the others stay.
        apart: the highest cosine of words that are not related.
        steps: number of steps.
        on_progress: told the steps.
    """
    bounds = torch.full(kin.shape, apart)
    bounds[related] = _RELATED_APART
    bounds[kin] = torch.inf
    near = (first[movable] @ first.T).clamp(max=_RELATED_APART)
    near[~kin[movable]] = -torch.inf
    own = first[movable].clone().requires_grad_()
    # A short memory: what was pushed too far comes back.
    optimizer = torch.optim.Adam([own], lr=_LEARNING_RATE, betas=(0.9, 0.95))
    for step in range(steps):
        moved = F.normalize(own, dim=-1)
        every = first.clone()
        every[movable] = moved
        cosines = moved @ every.T
        loss = F.relu(cosines - bounds[movable]).square().sum()
        loss = loss + F.relu(near - cosines).square().sum()
        loss = loss + _KEEP * (1 - (moved * first[movable]).sum(dim=1)).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        on_progress("moving taught words apart", step + 1, steps)
    found = first.clone()
    found[movable] = F.normalize(own.detach(), dim=-1)
    return found


def choose_place(senses: Sequence[Place], likeness: Tensor, *, related: Tensor) -> Place:
    """Chooses the sense that a word is taken in, and the taught words that count.

    Of several senses it is the one beside whose taught words MiniLM has the word; of these, too,
    the nearest counts, but all of a hypernym's kinds.

    Args:
        senses: the word's place by each of them.
        likeness: MiniLM's cosines of the word and the taught ones, [G].
        related: bool [G].
    """
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
        chosen: of `choose_place`.
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
