"""A set of photographs in COCO's layout. Masks are decoded when they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_sdk.errors import one_line
from training.errors import TrainingError
from training.real.annotation_table import AnnotationTable
from training.real.coco_layout import (
    IMAGES_FOLDER,
    INSTANCES_NAME,
    SPLITS,
    clean_labels,
    file_names,
    find_file,
    read_category,
    read_entries,
    split_of,
)


class PhotographSet:
    """The images of one set, numbered from 0, and what is annotated in them.

    Args:
        folder: of the set, whose name is the set's.
        complete: whether all that the categories name is labelled; None leaves it to the set,
            where silence is no.
        open_terms: whether anybody may use the images; likewise.

    Attributes:
        name: of the set.
        terms: of the photographs, as the set says; empty if it is silent.
        open_terms: whether anybody may use them.
        complete: whether all that the categories name is labelled.
        source: where the set is from.
        categories: that annotations are of.
        file_names: of the images, below their folder.
        sizes: int32 [N,2], height and width of each image in pixels.
        splits: uint8 [N], indices in `SPLITS`. An image without one is of "val" or of
            "calibration" in one case of a hundred each, by a hash of its name, else of "train".
        table: the annotations of all images.

    Raises:
        TrainingError: there is no such set, its JSON file is missing or damaged, or an image has
            no file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        complete: bool | None = None,
        open_terms: bool | None = None,
    ) -> None:
        self.folder = folder / IMAGES_FOLDER
        self.name = folder.name
        self.table = AnnotationTable()
        path = find_file(folder, INSTANCES_NAME)
        try:
            info = next(read_entries(path, "info"), None) or {}
            self.terms = str(info.get("terms", ""))
            self.source = str(info.get("source", ""))
            self.complete = bool(info.get("complete")) if complete is None else complete
            self.open_terms = bool(info.get("open")) if open_terms is None else open_terms
            entries = list(read_entries(path, "categories.item"))
            self.categories = tuple(read_category(entry) for entry in entries)
            numbers = {entry["id"]: number for number, entry in enumerate(entries)}
            images = list(read_entries(path, "images.item"))
            if not images:
                raise ValueError("it has no images")
            for entry in read_entries(path, "annotations.item"):
                self.table.add(entry)
            rows = {image["id"]: row for row, image in enumerate(images)}
            self._read_images(images, numbers)
            self.table.put_in_order(rows, numbers)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrainingError(f"{path}: {type(error).__name__}: {one_line(error)}") from error
        self._check_files()

    def __len__(self) -> int:
        return len(self.file_names)

    def path(self, image: int) -> Path:
        """Returns the image's file."""
        return self.folder / self.file_names[image]

    def labels(self, image: int) -> tuple[str, ...]:
        """Returns the labels of an image as a whole."""
        return self._labels[image]

    def absent(self, image: int) -> frozenset[str]:
        """Returns the names that the set promises are not in an image. No other name is absent.

        Of a complete set these are the categories without an annotation and a label in the image;
        of LVIS, the image's `neg_category_ids`; of any other, none.
        """
        found = self._negative.get(image, frozenset())
        if self.complete:
            found |= frozenset(each.name for each in self.categories if not each.nameless)
        numbers = self.table.numbers_of(image)
        shown = {self.categories[each].name for each in self.table.categories[numbers]}
        return found - shown - frozenset(self.labels(image))

    def exhaustive(self, image: int, category: int) -> bool:
        """Returns whether all things of a category in an image are annotated.

        So it is of a complete set and of LVIS, but for an image's `not_exhaustive_category_ids`.
        """
        if image in self._negative:
            return not self.partial(image, category)
        return self.complete

    def partial(self, image: int, category: int) -> bool:
        """Returns whether an image's `not_exhaustive_category_ids` have the category."""
        return category in self._not_exhaustive.get(image, frozenset())

    def _read_images(self, images: Sequence[dict[str, Any]], numbers: dict[int, int]) -> None:
        self.file_names = file_names(images, self.folder)
        sizes = [(image["height"], image["width"]) for image in images]
        self.sizes = np.array(sizes, np.int32).reshape(-1, 2)
        splits = [
            image.get("split") or split_of(name)
            for image, name in zip(images, self.file_names, strict=True)
        ]
        if unknown := set(splits) - set(SPLITS):
            raise ValueError(f"the split {sorted(unknown)[0]!r} is none of {', '.join(SPLITS)}")
        self.splits = np.array([SPLITS.index(split) for split in splits], np.uint8)
        self._labels = [clean_labels(image.get("labels") or ()) for image in images]
        self._negative: dict[int, frozenset[str]] = {}
        self._not_exhaustive: dict[int, frozenset[int]] = {}
        for row, image in enumerate(images):
            if "neg_category_ids" in image:  # LVIS
                negative = (
                    self.categories[numbers[each]].name for each in image["neg_category_ids"]
                )
                self._negative[row] = frozenset(negative)
                partly = image.get("not_exhaustive_category_ids") or ()
                self._not_exhaustive[row] = frozenset(numbers[each] for each in partly)

    def _check_files(self) -> None:
        folders = {os.path.dirname(name) for name in self.file_names}
        there: set[str] = set()
        for folder in folders:
            if (self.folder / folder).is_dir():
                there |= {os.path.join(folder, name) for name in os.listdir(self.folder / folder)}
        missing = [name for name in self.file_names if name not in there]
        if missing:
            raise TrainingError(
                f"the set {self.name}: {len(missing)} of {len(self)} images have no file in "
                f"{self.folder}, the first is {missing[0]}"
            )
