"""The split "val" of sets of photographs in COCO's layout, which nothing was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.public.files import DatasetError, by_turns, evenly, list_images
from benchmarks.quality.dataset import ALL, Masked, Naming
from samclip_sdk.image.loading import load_image
from training.asked_images import AskedImage
from training.data_config import Photographs as SetSettings
from training.real.coco_layout import PhotographSplit, clean_name
from training.real.photograph_questions import AskedPhotographs, objects_of, read_photograph
from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas

IMAGENET_MIN_PX = 200
"""The long side of an image that is to be told apart by ImageNet's classes."""

_TUNING_IMAGES = 6


def open_split(root: Path, split: PhotographSplit = "val") -> Photographs:
    """The images of a split of the sets below a folder, with all names."""
    return Photographs(SetSettings(source="photographs", root=root), split=split)


@dataclass(frozen=True)
class ValPhotographs:
    """The images of "val" that each part is about, `images` and `scenes` of them at most.

    Images with names of the whole are named; those with masks are asked by prompts, and those of
    complete sets by texts too. `folder` has the user's own images, a sub-folder a class.
    """

    root: Path
    seed: int = 0
    images: int | None = None
    scenes: int | None = None
    folder: Path | None = None

    @cached_property
    def photographs(self) -> Photographs:
        """All of them."""
        return open_split(self.root)

    @property
    def sets(self) -> dict[str, bool]:
        """The sets that have images in the split -> whether they label everything."""
        there = {self.photographs.sets[owner] for owner in np.unique(self.photographs.owners)}
        return {each.name: each.complete for each in sorted(there, key=lambda each: each.name)}

    def namings(self) -> list[Naming]:
        """Among the names of all sets, ImageNet's classes, and the folder's."""
        found, photographs = [], self.photographs
        labelled = [each for each in range(len(photographs)) if photographs.labels(each)]
        named = {each: right_names(photographs, each) for each in evenly(labelled, self.images)}
        classes = of_imagenet(photographs, labelled)
        chosen = {each: classes[each] for each in evenly([*classes], self.images)}
        every = (("all names", photographs.names, named), ("imagenet", imagenet_names()[0], chosen))
        found += [Naming(kind, ALL, names, right) for kind, names, right in every if right]
        if self.folder is not None:
            start = len(photographs)
            own = {start + i: frozenset([name]) for i, (_, name) in enumerate(self._own)}
            found.append(Naming("folder", ALL, sorted(set().union(*own.values())), own))
        return found

    @cached_property
    def _own(self) -> list[tuple[Path, str]]:
        return [] if self.folder is None else evenly(of_folder(self.folder), self.images)

    def read(self, image: int) -> np.ndarray:
        """The user's own images are counted on behind the split's."""
        own = image - len(self.photographs)
        return (
            read_photograph(self.photographs, image) if own < 0 else load_image(self._own[own][0])
        )

    @cached_property
    def _asked(self) -> AskedPhotographs | None:
        complete = any(self.sets.values())
        return AskedPhotographs(self.photographs, seed=self.seed) if complete else None

    @cached_property
    def _chosen(self) -> tuple[set[int], set[int]]:
        """What is asked by prompts, and by texts."""
        every = ((number, self.photographs[number]) for number in range(len(self.photographs)))
        prompted = [n for n, one in every if one.found.table.promptable[one.numbers].any()]
        complete = [] if self._asked is None else sorted(self._asked.images.tolist())
        return set(evenly(prompted, self.scenes)), set(evenly(complete, self.scenes))

    def masked(self) -> list[int]:
        """Those with masks, and those of complete sets."""
        return sorted(set.union(*self._chosen))

    def question(self, image: int) -> Masked:
        """Things of half a percent or more, and of a complete set five names that it lacks."""
        name, (prompted, complete) = self.photographs[image].found.name, self._chosen
        objects, asked = objects_of(self.photographs, image), None
        if self._asked is not None and image in complete:
            asked = self._asked.question(image)
        absent = [self.photographs.names[each] for each in self.photographs.absent(image)]
        shown = objects if image in prompted else objects[:0]
        return Masked(self.read(image), shown, asked, absent, (ALL, name), name)


def tuning_images(root: Path, *, seed: int) -> list[AskedImage]:
    """A few images of complete sets that show something, to choose thresholds by."""
    asked = AskedPhotographs(open_split(root, "calibration"), seed=seed)
    return list(islice((each for each in asked.ask(Counter()) if each.present), _TUNING_IMAGES))


def right_names(photographs: Photographs, image: int) -> frozenset[str]:
    """What an image shows: the names of the whole, and those of its annotations."""
    one = photographs[image]
    concepts = one.concepts(one.numbers)
    found = [*photographs.labels(image), *concepts[concepts >= 0].tolist()]
    return frozenset(photographs.names[each] for each in found)


def draw_evenly(photographs: Photographs, *, seed: int) -> list[int]:
    """Draws images that show something with a name: one of each set, then another."""
    rng = np.random.default_rng(seed)
    of_set: dict[int, list[int]] = {}
    for image in rng.permutation(len(photographs)).tolist():
        if right_names(photographs, image):
            of_set.setdefault(int(photographs.owners[image]), []).append(image)
    return by_turns(of_set.values())


def imagenet_names() -> tuple[list[str], Mapping[str, frozenset[str]]]:
    """The first name of each class, and which of them each of a class's names stands for."""
    lemmas = imagenet_lemmas()
    stands_for: dict[str, frozenset[str]] = {}
    for names in lemmas:
        for name in names:
            stands_for[name] = stands_for.get(name, frozenset()) | {names[0]}
    return list(dict.fromkeys(first for first, *_ in lemmas)), stands_for


def of_imagenet(photographs: Photographs, images: Sequence[int]) -> dict[int, frozenset[str]]:
    """Images, large enough, whose label names one of ImageNet's classes -> the right classes."""
    _, stands_for = imagenet_names()
    found: dict[int, frozenset[str]] = {}
    for image in images:
        one = photographs[image]
        labels = [photographs.names[each] for each in photographs.labels(image)]
        right = frozenset().union(*(stands_for.get(label, frozenset()) for label in labels))
        if right and one.found.sizes[one.row].max() >= IMAGENET_MIN_PX:
            found[image] = right
    return found


def of_folder(folder: Path) -> list[tuple[Path, str]]:
    """Images of a folder with a sub-folder a class, each with the class's name."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    found = [(path, clean_name(each.name)) for each in classes for path in list_images(each)]
    if len({name for _, name in found}) < 2:
        raise DatasetError(
            f"{folder} does not hold images of two classes or more, in a sub-folder a class"
        )
    return found
