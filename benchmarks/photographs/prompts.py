"""Masks of one box and of one point, by how large the object is and by set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.photographs.bootstrap import Bootstrap, mean, mean_of_means
from benchmarks.photographs.record import ALL, PromptIou
from benchmarks.quality.scores import best_ious, innermost_pixel
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.masks import mask_to_box

SIZES: dict[str, tuple[float, float]] = {
    "below 2 %": (0.0, 0.02),
    "2 to 10 %": (0.02, 0.1),
    "above 10 %": (0.1, 2.0),
}
"""Name -> from which share of the picture on, and below which."""


@dataclass
class ObjectIous:
    """The IoU of every object by each prompt: a row each."""

    owners: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    box: list[float] = field(default_factory=list)
    point: list[float] = field(default_factory=list)

    def add(self, owner: int, model: SamClip, image: ImageEmbedding, masks: np.ndarray) -> None:
        """Asks for every object, bool [N,H,W], by its tight box and by its innermost pixel."""
        boxes = np.stack([mask_to_box(mask) for mask in masks]).astype(np.float32)
        points = np.array([innermost_pixel(mask) for mask in masks], np.float32)[:, None]
        self.owners += [owner] * len(masks)
        self.shares += masks.mean(axis=(1, 2)).tolist()
        self.box += best_ious(
            model.segment(image, boxes=boxes, multimask_output=False), truth=masks
        )
        self.point += best_ious(
            model.segment(image, points=points, multimask_output=False), truth=masks
        )

    def rows(self, bootstrap: Bootstrap, *, sets: Sequence[str]) -> Iterator[PromptIou]:
        """Over all objects and by size, each also as the mean over sets; then by set."""
        owners, shares = np.array(self.owners, np.int64), np.array(self.shares)
        names, groups = np.unique(np.array(sets)[owners], return_inverse=True)
        parts = {ALL: np.ones(len(owners), bool)}
        parts |= {size: (shares >= low) & (shares < high) for size, (low, high) in SIZES.items()}
        parts |= {str(name): groups == place for place, name in enumerate(names)}
        ious = {"box": np.array(self.box), "point": np.array(self.point)}
        for of, part in parts.items():
            if not part.any():
                continue
            own, sets_of = owners[part], groups[part]
            found = {
                name: bootstrap.estimate(mean(values[part]), owners=own)
                for name, values in ious.items()
            }
            yield PromptIou(of=of, over="objects", objects=int(part.sum()), **found)
            if of == ALL or of in SIZES:
                means = {
                    name: bootstrap.estimate(
                        mean_of_means(values[part], groups=sets_of), owners=own
                    )
                    for name, values in ious.items()
                }
                yield PromptIou(of=of, over="sets", objects=int(part.sum()), **means)
