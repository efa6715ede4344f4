"""All masks in an image, one row each, with the names that fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from samclip_sdk.results.result_base import counted, described, named
from samclip_sdk.results.row_items import NamedMask
from samclip_sdk.results.scored_masks import ScoredMasks


@dataclass(frozen=True, eq=False, repr=False)
class NamedMasks(ScoredMasks[NamedMask]):
    """Masks of everything; an item for each, the best first. Of labels, `label_scores` tells.

    Attributes:
        scores: float32 [N], 0..1, descending: the predicted IoU, as in `Masks`. If the model
            proposes boxes, it is multiplied by how likely its box shows one whole thing.
    """

    ITEM: ClassVar = NamedMask
    CAPTION: ClassVar = "label_scores"

    def __repr__(self) -> str:
        pairs = zip(self.labels, self.label_scores, strict=True)
        names = [(label, score) for label, score in pairs if label]
        nameless = len(self) - len(names)
        parts = [named(names)] * bool(names) + [f"{nameless} nameless"] * bool(nameless)
        said = ": ".join([counted(len(self), "mask"), *([", ".join(parts)] if parts else [])])
        return described("NamedMasks", said, self._size(), speed=self.speed)
