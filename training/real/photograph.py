"""One photograph of a set: its annotations, and what a view shows of its colours and masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.real.annotation_table import Annotation
from training.real.photograph_masks import decode_mask
from training.real.photograph_sets import PhotographSet
from training.real.photograph_views import View, render


class Photograph(NamedTuple):
    """An image of a set.

    Attributes:
        found: the set.
        row: the image's number in it.
        category_names: int64 [C], a number for the name of each category; -1 of one without.
    """

    found: PhotographSet
    row: int
    category_names: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Its height and width in pixels, as its set says."""
        height, width = self.found.sizes[self.row].tolist()
        return height, width

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of its annotations, int64 [n]."""
        return self.found.table.numbers_of(self.row)

    def concepts(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the names of annotations: int64 [n], -1 for none."""
        concepts: np.ndarray = self.category_names[self.found.table.categories[numbers]]
        return concepts

    def image(self, view: View) -> np.ndarray:
        """Renders a view, uint8 [S,S,3]; raises BrokenRecord as `render` does."""
        return render(self.found.path(self.row), view, size=self.size)

    def mask(self, annotation: Annotation, view: View) -> np.ndarray:
        """An annotation's mask in a view, bool [S,S]; raises BrokenRecord as `decode_mask`."""
        height, width = self.size
        return view.mask(decode_mask(annotation.segmentation, height_px=height, width_px=width))
