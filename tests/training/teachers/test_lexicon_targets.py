from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.teachers.lexicon_targets import choose_place, part_taught, place_words
from training.text.lexicon import Place

WIDTH, TAUGHT = 32, 8
APART = 0.35
part = partial(part_taught, apart=APART, steps=200)


def unit(count: int, *, seed: int, common: float = 0.0) -> Tensor:
    """Random directions, with something in common."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, WIDTH, generator=generator) + common, dim=-1)


def marked(count: int, *pairs: tuple[int, int]) -> Tensor:
    found = torch.eye(count, dtype=torch.bool)
    for one, other in pairs:
        found[one, other] = found[other, one] = True
    return found


def test_what_has_nothing_to_do_with_one_another_parts() -> None:
    """0 and 1 are kin, 2 and 3 related; 4 and 5 are classes, which stay."""
    first = unit(TAUGHT, seed=0, common=1.5)
    assert (first @ first.T).min() > 0.4
    kin, movable = marked(TAUGHT, (0, 1)), torch.ones(TAUGHT, dtype=torch.bool)
    movable[4:6] = False
    related = kin | marked(TAUGHT, (2, 3))
    found = part(first, kin=kin, related=related, movable=movable)
    cosines = found @ found.T
    torch.testing.assert_close(found.norm(dim=1), torch.ones(TAUGHT))
    assert torch.equal(found[4:6], first[4:6])
    free = related.clone()
    free[4, 5] = free[5, 4] = True
    assert cosines[~free].max() < APART + 0.02
    assert cosines[0, 1] > 0.55


def test_how_far_two_part_depends_on_what_they_are() -> None:
    first = F.normalize(torch.tensor([[1.0, 0.5, 0.0], [1.0, -0.5, 0.0]]), dim=-1)
    alone, both = torch.eye(2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool)
    movable = torch.ones(2, dtype=torch.bool)
    found = [
        part(first, kin=kin, related=related, movable=movable)
        for kin, related in ((alone, alone), (alone, both), (both, both))
    ]
    before = F.normalize(torch.tensor([[1.0, 0.2], [1.0, -0.2]]), dim=-1)
    kin = part(before, kin=both, related=both, movable=movable)
    cosines = [float(each[0] @ each[1]) for each in (*found, kin)]
    assert cosines == pytest.approx([0.35, 0.6, 0.6, float(before[0] @ before[1])], abs=0.03)


def test_the_sense_is_the_one_that_minilm_has_nearer() -> None:
    likeness = torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.2, 0.4], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    related = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=torch.bool)
    places = [
        [Place("kind", (0,)), Place("kind", (1, 2))],
        [Place("alone"), Place("hypernym", (0, 2))],
        [Place("alone")],
        [Place("alone")],
    ]
    rows = zip(places, likeness, related, strict=True)
    assert [choose_place(each, cosines, related=kin) for each, cosines, kin in rows] == [
        Place("kind", (1,)),
        Place("hypernym", (0, 2)),
        Place("near", (1,)),
        Place("alone"),
    ]


def test_where_words_come_to_lie() -> None:
    table = torch.eye(4, WIDTH)
    # All are spelled like the last of the taught words.
    own = F.normalize(table[3] + 0.3 * unit(5, seed=2), dim=-1)
    places = [
        Place("synonym", (0,)),
        Place("kind", (1,)),
        Place("hypernym", (0, 1)),
        Place("near", (2,)),
        Place("alone"),
    ]
    related = torch.zeros(5, 4, dtype=torch.bool)
    related[1, [0, 1]] = related[2, [0, 1]] = related[3, 2] = True
    found = place_words(own, places, table, related=related, apart=0.35)
    cosines = found @ table.T
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(found[0], table[0])
    assert cosines.argmax(dim=1)[:4].tolist()[1::2] == [1, 2]
    assert cosines.argmax(dim=1)[2] in (0, 1)
    assert cosines[1, 1] > 0.8
    assert cosines[1:, 3].max() < 0.37


def test_a_kind_of_what_is_near_to_many_stays_beside_it() -> None:
    """A vehicle is near to its twenty kinds, which a rocket has nothing to do with."""
    vehicle = unit(1, seed=5)
    table = F.normalize(torch.cat([vehicle, vehicle + 0.1 * unit(20, seed=6)]), dim=-1)
    found = place_words(
        unit(1, seed=7),
        [Place("kind", (0,))],
        table,
        related=torch.zeros(1, 21, dtype=torch.bool),
        apart=0.35,
    )
    cosines = (found @ table.T)[0]
    assert cosines.argmax() == 0
    assert cosines[0] > 0.8
