"""The objects of labels in an image, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from samclip_sdk.results.result_base import counted, described, named
from samclip_sdk.results.row_items import Instance
from samclip_sdk.results.scored_masks import ScoredMasks


@dataclass(frozen=True, eq=False, repr=False)
class Instances(ScoredMasks[Instance]):
    """Objects of labels; an item for each, the best first.

    Attributes:
        scores: float32 [N], 0..1, descending: the calibrated probability that the object is right
            (IoU .5), or of a bundle without it the product of the three scores below.
    """

    ITEM: ClassVar = Instance
    CAPTION: ClassVar = "scores"

    def __repr__(self) -> str:
        said = counted(len(self), "object")
        names = named(zip(self.labels, self.scores, strict=True))
        said = f"{said}: {names}" if names else said
        return described("Instances", said, self._size(), speed=self.speed)
