"""Sets of photographs that no training has a part in: which of their pictures are asked, and what.

The list is committed (`held_out_sets.json`), so that anyone who has the sets gets the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter

from benchmarks.public.files import DatasetError
from benchmarks.record import Record
from training.asked_pictures import AskedPicture
from training.composed.label_questions import ABSENT
from training.data_config import Photographs as SetSettings
from training.data_config import PhotographSettings
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs, find_sets

LIST = Path(__file__).with_name("held_out_sets.json")

_ABSENT_STREAM = 16  # keeps these draws apart from others of the same seed


class HeldOutSet(Record):
    """One set of the list.

    Its pictures `files` are asked, by file name. Those `seen` were in the training of an earlier
    model, or look like ones that were: on the others two models are compared evenly. A set that
    labels everything says itself what is absent; of another, `absent` are names that none of its
    pictures shows, and without these it is not asked for texts. `named` sets are asked for the
    names of whole pictures. A name in `aliases` stands for another; those in `unasked` are neither
    right nor wrong.
    """

    name: str
    group: str
    files: tuple[str, ...]
    seen: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    named: bool = False
    aliases: dict[str, str] = Field(default_factory=dict)
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOutPictures:
    """The pictures to ask, by their number in `photographs`, each with its set of the list.

    `groups` are in the order of the list.
    """

    photographs: Photographs
    sets: dict[int, HeldOutSet]
    groups: tuple[str, ...]
    asked: AskedPhotographs

    def question(self, picture: int) -> AskedPicture | None:
        """What a picture is asked for by texts; None if nothing is known to be absent."""
        own, found = self.sets[picture], self.photographs[picture].found
        if not found.complete and not own.absent:
            return None
        asked = self.asked.question(picture)
        kept = [place for place, name in enumerate(asked.present) if name not in own.unasked]
        present, masks = tuple(asked.present[place] for place in kept), asked.masks[kept]
        if found.complete:
            return replace(asked, present=present, masks=masks)
        if not present:
            return None
        rng = np.random.default_rng([self.asked.seed, _ABSENT_STREAM, picture])
        absent = [own.absent[each] for each in rng.permutation(len(own.absent))[:ABSENT]]
        return replace(asked, present=present, masks=masks, absent=tuple(absent))

    def fresh(self, picture: int) -> bool:
        """Whether no training of an earlier model saw a picture, either."""
        one = self.photographs[picture]
        return one.found.file_names[one.row] not in self.sets[picture].seen

    def absent(self, picture: int) -> list[str]:
        """All that a picture does not show, as its set promises or the list says."""
        own, found = self.sets[picture], self.photographs[picture].found
        if not found.complete:
            return list(own.absent)
        return [self.photographs.names[each] for each in self.photographs.absent(picture)]

    def names(self, picture: int) -> frozenset[str]:
        """What a picture shows as a whole, as its set says it: no unasked name, no alias."""
        own, labels = self.sets[picture], self.photographs.labels(picture)
        found = (self.photographs.names[each] for each in labels)
        return frozenset(own.aliases.get(each, each) for each in found if each not in own.unasked)


def read_list(path: Path = LIST) -> tuple[HeldOutSet, ...]:
    """Reads the committed list."""
    return TypeAdapter(tuple[HeldOutSet, ...]).validate_json(path.read_bytes())


def choose_held_out(
    root: Path, sets: Sequence[HeldOutSet], *, limit: int | None, seed: int
) -> HeldOutPictures:
    """Opens the sets of a list below a folder, and chooses their pictures.

    Raises:
        TrainingError: a set is missing or damaged.
        DatasetError: a set lacks pictures of the list.
    """
    listed = {each.name: each for each in sets}
    settings = SetSettings(source="photographs", root=root)
    others = {each.name for each in find_sets(settings)} - set(listed)
    weights = {name: PhotographSettings() for name in listed}
    weights |= {name: PhotographSettings(weight=0) for name in others}
    photographs = Photographs(settings.model_copy(update={"sets": weights}), split="val")
    chosen: dict[int, HeldOutSet] = {}
    for number, found in enumerate(photographs.sets):
        own = listed[found.name]
        pictures = np.flatnonzero(photographs.owners == number).tolist()
        numbers = {found.file_names[photographs.rows[each]]: each for each in pictures}
        if missing := [name for name in own.files if name not in numbers]:
            raise DatasetError(
                f"the set {own.name} below {root} lacks {len(missing)} of the {len(own.files)} "
                f"pictures that are asked, the first is {missing[0]}"
            )
        chosen |= {numbers[name]: own for name in own.files[:limit]}
    groups = tuple(dict.fromkeys(each.group for each in sets))
    return HeldOutPictures(photographs, chosen, groups, AskedPhotographs(photographs, seed=seed))
