"""What a model is asked: one shape for drawings, photographs and held-out sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from training.asked_images import AskedImage

ALL = "all"


@dataclass(frozen=True)
class Naming:
    """Images that are told apart among `names`, and the right ones of each image by number.

    `kind` says what is named and among what. Names in `neither` are neither right nor wrong.
    """

    kind: str
    split: str
    names: Sequence[str]
    right: Mapping[int, frozenset[str]]
    neither: Mapping[int, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Masked:
    """An image, and what is where in it.

    `objects`, bool [N,H,W], are asked by prompts; `asked` is what is asked by texts, if anything is
    known to be absent, and `absent` are all names that are. Its figures count to each of `splits`;
    `of` is its set.
    """

    image: np.ndarray
    objects: np.ndarray
    asked: AskedImage | None
    absent: Sequence[str]
    splits: tuple[str, ...]
    of: str


class Dataset(Protocol):
    """Images with answers, of one split."""

    def namings(self) -> Sequence[Naming]:
        """What is named; several namings may share images."""
        ...

    def read(self, image: int) -> np.ndarray:
        """An image that is named, uint8 RGB [H,W,3]; BrokenRecord if it cannot be read."""
        ...

    def masked(self) -> Sequence[int]:
        """The numbers of the images with masks."""
        ...

    def question(self, image: int) -> Masked:
        """What one of them is asked; BrokenRecord if it cannot be read."""
        ...
