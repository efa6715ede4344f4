"""Photographs of several sets on one side of the split, and how often each of them is drawn."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from training.data_config import Photographs as Settings
from training.data_config import PhotographSettings
from training.errors import TrainingError
from training.real.coco_layout import INSTANCES_NAME, SPLITS, PhotographSplit
from training.real.photograph import Photograph
from training.real.photograph_sets import PhotographSet


class Photographs:
    """The images of several sets, numbered through from 0.

    Args:
        settings: where they are, and which of them.
        split: "train", "val" or "calibration".

    Attributes:
        sets: that are used, in the order of their names.
        owners: int64 [N], the set of each image.
        rows: int64 [N], its number in the set.
        names: all that may be taught, sorted: of categories, and of labels of whole images.

    Raises:
        TrainingError: there is no set, none with such terms, or no image in the split; a setting
            is of a set that does not exist; or a set is damaged.
    """

    def __init__(self, settings: Settings, *, split: PhotographSplit) -> None:
        cv2.setNumThreads(0)  # Training runs one process a core; OpenCV's threads would fight them.
        self.settings = settings
        self.split = split
        self.sets = open_sets(settings)
        code = SPLITS.index(split)
        chosen = [np.flatnonzero(each.splits == code) for each in self.sets]
        if not sum(map(len, chosen)):
            raise TrainingError(f"no photograph below {settings.root} is in the split {split}")
        counts = [len(rows) for rows in chosen]
        self.owners = np.repeat(np.arange(len(self.sets)), counts)
        self.rows = np.concatenate(chosen)
        self._index_names()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, image: int) -> Photograph:
        owner = self.owners[image]
        return Photograph(self.sets[owner], int(self.rows[image]), self._category_names[owner])

    def labels(self, image: int) -> list[int]:
        """Returns the labels of an image as a whole: indices in `names`."""
        found, row, _ = self[image]
        return [self._index[name] for name in found.labels(row)]

    def absent(self, image: int) -> list[int]:
        """Returns the names that the set promises are not in an image: indices in `names`."""
        found, row, _ = self[image]
        return sorted(self._index[name] for name in found.absent(row) if name in self._index)

    def terms(self) -> dict[str, str]:
        """Returns the terms of each set."""
        return {each.name: each.terms for each in self.sets}

    def weights(self) -> np.ndarray:
        """Returns the probability of drawing each image: float64 [N], which sum to 1.

        A concept that n images show weighs n^-balance in each of them, and an image weighs what
        its concepts weigh together; the nameless of a set are one concept. A set's images weigh
        `weight` times that; if there are more than `cap`, `cap` over their number times.
        """
        concepts = [self.concepts(image) for image in range(len(self))]
        shown = np.concatenate(concepts)
        image = np.repeat(np.arange(len(self)), [len(each) for each in concepts])
        shown = np.where(shown < 0, len(self.names) + self.owners[image], shown)
        weights = np.bincount(image, np.bincount(shown)[shown] ** -self.settings.balance)
        for number, size in enumerate(np.bincount(self.owners, minlength=len(self.sets))):
            own = _settings_of(self.settings, self.sets[number].name)
            cap = size if own.cap is None else own.cap
            weights[self.owners == number] *= own.weight * min(1, cap / max(size, 1))
        return np.asarray(weights / weights.sum())

    def concepts(self, image: int) -> np.ndarray:
        """Returns the concepts of an image for its weight: int64 indices in `names`, or [-1].

        These are the names of its annotations; without any, the label that most images have.
        """
        one = self[image]
        names = np.unique(one.concepts(one.numbers))
        if (names >= 0).any():
            return names[names >= 0]
        labels = self.labels(image)
        return np.array([max(labels, key=lambda label: self._label_counts[label], default=-1)])

    def _index_names(self) -> None:
        """Numbers what may be taught, alike in every split, and counts images by label."""
        labels = [
            name for each in self.sets for row in range(len(each)) for name in each.labels(row)
        ]
        named = [[each.name for each in own.categories if not each.nameless] for own in self.sets]
        self.names = tuple(sorted({*labels, *chain.from_iterable(named)}))
        self._index = {name: number for number, name in enumerate(self.names)}
        self._category_names = [
            np.array([-1 if x.nameless else self._index[x.name] for x in own.categories], np.int64)
            for own in self.sets
        ]
        known = np.array([self._index[name] for name in labels], np.int64)
        self._label_counts = np.bincount(known, minlength=len(self.names))


def open_sets(settings: Settings) -> list[PhotographSet]:
    """Opens the sets that settings let serve, by name; raises TrainingError if there is none."""
    root, folders, found = settings.root, find_sets(settings), []
    for folder in folders:
        own = _settings_of(settings, folder.name)
        if not own.weight:
            continue
        each = PhotographSet(folder, complete=own.complete, open_terms=own.open)
        if settings.terms == "all" or each.open_terms:
            found.append(each)
    if not found:
        kind = "that anybody may use" if settings.terms == "open" else "with a weight above 0"
        raise TrainingError(f"of {len(folders)} sets of photographs below {root}, none is {kind}")
    return found


def find_sets(settings: Settings) -> list[Path]:
    """The folders of the sets below the root, by name; raises TrainingError if there is none."""
    root = settings.root
    found = sorted(path.parent for path in root.glob(f"*/{INSTANCES_NAME}"))
    if not found:
        raise TrainingError(
            f"there is no set of photographs below {root}: a set is a folder with {INSTANCES_NAME}"
        )
    names = [folder.name for folder in found]
    if missing := sorted(set(settings.sets) - set(names)):
        raise TrainingError(
            f"there is no set {missing[0]} below {root}, which has {', '.join(names)}"
        )
    return found


def _settings_of(settings: Settings, name: str) -> PhotographSettings:
    return settings.sets.get(name, PhotographSettings())
