"""One photograph of a set: its annotations, and what a view shows of its colours and masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.real.annotation_table import Annotation
from training.real.photograph_masks import decode_mask
from training.real.photograph_sets import PhotographSet
from training.real.photograph_views import View, draw_view, recolour, render, whole_view


class Photograph(NamedTuple):
    """A picture of a set.

    Attributes:
        found: the set.
        row: the picture's number in it.
        category_names: int64 [C], a number for the name of each category; -1 of one without.
    """

    found: PhotographSet
    row: int
    category_names: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of its annotations, int64 [n]."""
        return self.found.table.numbers_of(self.row)

    def concepts(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the names of annotations: int64 [n], -1 for none."""
        concepts: np.ndarray = self.category_names[self.found.table.categories[numbers]]
        return concepts

    def draw_view(self, rng: np.random.Generator, *, resolution: int, augment: bool) -> View:
        """Returns a view: drawn if `augment`, else the whole picture."""
        height, width = self.found.sizes[self.row].tolist()
        if augment:
            return draw_view(height, width, rng, resolution=resolution)
        return whole_view(height, width, resolution=resolution)

    def image(self, view: View) -> np.ndarray:
        """Renders a view: uint8 [S,S,3].

        Raises:
            BrokenRecord: it cannot be read, or is of another size than its set says.
        """
        height, width = self.found.sizes[self.row].tolist()
        return render(self.found.path(self.row), view, height_px=height, width_px=width)

    def recoloured(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Renders a view with slightly changed colours."""
        image = self.image(view)
        recolour(image, view, rng)
        return image

    def mask(self, annotation: Annotation, view: View) -> np.ndarray:
        """Returns an annotation's mask in a view: bool [S,S].

        Raises:
            BrokenRecord: it is damaged, or of another size than the picture.
        """
        height, width = self.found.sizes[self.row].tolist()
        return view.mask(decode_mask(annotation.segmentation, height_px=height, width_px=width))
