"""Sets of photographs that no training has a part in: which of their images are asked, and what.

The list is committed (`held_out_sets.json`), so that anyone who has the sets gets the same figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter

from benchmarks.public.files import DatasetError
from benchmarks.quality.dataset import ALL, Masked, Naming
from benchmarks.quality.photographs import imagenet_names
from samclip_sdk.system.records import Record
from training.asked_images import AskedImage
from training.composed.label_questions import ABSENT
from training.data_config import Photographs as SetSettings
from training.data_config import PhotographSettings
from training.real.photograph_questions import AskedPhotographs, objects_of, read_photograph
from training.real.photographs import Photographs, find_sets

LIST = Path(__file__).with_name("held_out_sets.json")
_ABSENT_STREAM = 16  # keeps these draws apart from others of the same seed


class HeldOutSet(Record):
    """One set of the list.

    Its images `files` are asked, by file name. A set that labels everything says itself what is
    absent; of another, `absent` are names that none of its images shows, and without these it is
    not asked for texts. `named` sets are asked for the names of whole images. A name in `aliases`
    stands for another; those in `unasked` are neither right nor wrong.
    """

    name: str
    group: str
    files: tuple[str, ...]
    absent: tuple[str, ...] = ()
    named: bool = False
    aliases: dict[str, str] = Field(default_factory=dict)
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOutImages:
    """The images to ask, by their number in `photographs`, each with its set of the list.

    `taught` are the names that a bundle brings: whole images are told apart by them, too.
    """

    photographs: Photographs
    sets: dict[int, HeldOutSet]
    asked: AskedPhotographs
    taught: Sequence[str] = ()

    def splits(self, image: int) -> tuple[str, ...]:
        """Its group, and all."""
        return (self.sets[image].group, ALL)

    def counts(self) -> dict[str, int]:
        """How many images of each set are asked."""
        return dict(sorted(Counter(each.name for each in self.sets.values()).items()))

    def namings(self) -> list[Naming]:
        """Of each set that is named, and of all: among its own names, and among what was taught.

        Among ImageNet's classes where all of a set's names are of these.
        """
        of_set: dict[str, dict[int, frozenset[str]]] = defaultdict(dict)
        for image, own in self.sets.items():
            found = (self.photographs.names[each] for each in self.photographs.labels(image))
            asked = (own.aliases.get(each, each) for each in found if each not in own.unasked)
            if own.named and (names := frozenset(asked)):
                of_set[own.name][image] = names
        classes, namings = set(imagenet_names()[0]), []
        for name, shown in of_set.items():
            every = set().union(*shown.values())
            neither = {each: frozenset(self.sets[each].unasked) for each in shown}
            lists = {"own": every, "taught": every.union(self.taught)}
            lists |= {"imagenet": classes} if every <= classes else {}
            for among, names in lists.items():
                namings.append(Naming(among, name, sorted(names), shown, neither))
        return namings

    def read(self, image: int) -> np.ndarray:
        """Upright."""
        return read_photograph(self.photographs, image)

    def masked(self) -> list[int]:
        """All of them: who has no masks is asked for nothing."""
        return list(self.sets)

    def question(self, image: int) -> Masked:
        """Things of half a percent or more, and names of which some are known to be absent."""
        own, one = self.sets[image], self.photographs[image]
        absent = list(own.absent)
        if one.found.complete:
            absent = [self.photographs.names[each] for each in self.photographs.absent(image)]
        objects, asked = objects_of(self.photographs, image), self._ask(image)
        return Masked(self.read(image), objects, asked, absent, self.splits(image), own.name)

    def _ask(self, image: int) -> AskedImage | None:
        """What an image is asked for by texts; None if nothing is known to be absent."""
        own, found = self.sets[image], self.photographs[image].found
        if not found.complete and not own.absent:
            return None
        asked = self.asked.question(image)
        kept = [index for index, name in enumerate(asked.present) if name not in own.unasked]
        present = tuple(asked.present[index] for index in kept)
        asked = replace(asked, present=present, masks=asked.masks[kept])
        if found.complete:
            return asked
        if not present:
            return None
        rng = np.random.default_rng([self.asked.seed, _ABSENT_STREAM, image])
        absent = [own.absent[each] for each in rng.permutation(len(own.absent))[:ABSENT]]
        return replace(asked, absent=tuple(absent))


def read_list() -> tuple[HeldOutSet, ...]:
    """Reads the committed list."""
    return TypeAdapter(tuple[HeldOutSet, ...]).validate_json(LIST.read_bytes())


def choose_held_out(
    root: Path,
    sets: Sequence[HeldOutSet],
    *,
    seed: int = 0,
    taught: Sequence[str] = (),
) -> HeldOutImages:
    """Opens the sets of a list below a folder, and chooses their images.

    Raises:
        TrainingError: a set is missing or damaged.
        DatasetError: a set lacks images of the list.
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
        images = np.flatnonzero(photographs.owners == number).tolist()
        numbers = {found.file_names[photographs.rows[each]]: each for each in images}
        if missing := [name for name in own.files if name not in numbers]:
            raise DatasetError(
                f"the set {own.name} below {root} lacks {len(missing)} of the {len(own.files)} "
                f"images that are asked, the first is {missing[0]}"
            )
        chosen |= {numbers[name]: own for name in own.files}
    return HeldOutImages(photographs, chosen, AskedPhotographs(photographs, seed=seed), taught)
