"""A grid of points on an image, asked from coarse to fine.

Every point of a coarse grid is asked. A point between them is only asked if its neighbours promise
a new object: large objects are in the masks of the coarse grid already, and a small one is seen by
the points around it, in the finest of SAM's three masks, the first one. Where that mask is far from
good there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Array
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.image.model_prompts import FILLER, assemble_prompts

COARSEST = 16
"""Of a grid with fewer than twice so many points along each side, every point is asked."""

STABLE_CORNERS, STABLE_SIDES, LIKELY = 0.5, 0.75, 0.75
"""A point is asked if the stability of its neighbours' masks is this share of a good mask's, and
their predicted IoU too, each on average. In the middle of a square the neighbours are its corners,
which are farther away and tell less of stability."""

_AT_ONCE = 4  # The decoder's intermediate results then fit into a processor's cache.
_TOKENS = 16  # of a prompt: no runtime has a larger bucket

Indices = NDArray[np.intp]
"""Points by their number in the grid, row by row."""


@dataclass
class PointGrid:
    """The points of a grid, and how good the first mask of each was that has been asked.

    Attributes:
        points_per_side: n; there are n * n points.
        good: the least stability and predicted IoU of a mask that is kept.
        first_masks: float32 [n*n,2], the stability and the predicted IoU of each point's first
            mask; NaN for points that were not asked.
    """

    points_per_side: int
    good: tuple[float, float]
    first_masks: Array = field(init=False)

    def __post_init__(self) -> None:
        self.first_masks = np.full((self.points_per_side**2, 2), np.nan, dtype=np.float32)

    def batches(self) -> Iterator[Indices]:
        """Yields the points to ask, a few at a time; their `first_masks` are told before the next.

        Row by row, if every point is asked.
        """
        step = 1
        while self.points_per_side // (2 * step) >= COARSEST:
            step *= 2
        yield from _cut(self._lattice(step))
        while step > 1:
            step //= 2
            middles = self._lattice(2 * step, start=step)
            yield from _cut(self._promising(middles, step, step, stable=STABLE_CORNERS))
            yield from _cut(self._promising(self._lattice(step), step, 0, stable=STABLE_SIDES))

    def _lattice(self, step: int, *, start: int = 0) -> Indices:
        along = np.arange(start, self.points_per_side, step)
        indices: Indices = np.add.outer(self.points_per_side * along, along).ravel()
        return indices

    def _promising(self, indices: Indices, down: int, across: int, *, stable: float) -> Indices:
        """Those of the points that were not asked yet, and whose four neighbours promise more.

        The neighbours lie `down` and `across` from the point, and at the quarter turns of that.
        """
        indices = indices[np.isnan(self.first_masks[indices, 0])]
        square = self.first_masks.reshape(self.points_per_side, self.points_per_side, 2)
        around = np.pad(square, ((down, down), (down, down), (0, 0)), constant_values=np.nan)
        rows, columns = np.divmod(indices, self.points_per_side)
        near = np.stack(
            [
                around[rows + down + y, columns + down + x]
                for y, x in ((down, across), (-across, down), (-down, -across), (across, -down))
            ]
        )
        known = ~np.isnan(near)
        mean = np.where(known, near, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        minimum = np.multiply((stable, LIKELY), self.good)
        promising: Indices = indices[(mean >= minimum).all(axis=-1)]
        return promising


def _cut(indices: Indices) -> Iterator[Indices]:
    for start in range(0, len(indices), _AT_ONCE):
        yield indices[start : start + _AT_ONCE]


@dataclass(frozen=True)
class PointPrompts:
    """N prompts of one foreground point each, encoded.

    Attributes:
        points: float32 [N,D].
        padding: float32 [D], SAM's padding token, which every prompt of points has.
        dense_embeddings: float32 [1,D,g,g], of no mask.
    """

    points: Array
    padding: Array
    dense_embeddings: Array

    def decode(self, one: Pass, indices: Indices) -> tuple[Array, Array]:
        """Three masks of each of k points: low_res_masks [k,3,4g,4g], iou_predictions [k,3]."""
        count = len(indices)
        sparse = np.stack([self.points[indices], np.tile(self.padding, (count, 1))], axis=1)
        encoded = {
            "sparse_embeddings": sparse,
            "sparse_mask": np.ones((count, 2), dtype=np.float32),
            "dense_embeddings": self.dense_embeddings.repeat(count, axis=0),
        }
        return one.decode_encoded(encoded, tokens=slice(1, 4))


def encode_grid(one: Pass, *, points_per_side: int) -> PointPrompts:
    """Encodes a foreground point for each cell of a grid on the image, row by row.

    The prompt encoder embeds each point by itself. So it gets many points as one prompt, and makes
    the embedding of no mask once for all of them.
    """
    along = (np.arange(points_per_side) + 0.5) / points_per_side
    frame, side = one.frame, one.mask_side
    x, y = np.meshgrid(along * frame.width_px, along * frame.height_px)
    points = frame.to_model(np.stack([x.ravel(), y.ravel()], axis=-1)).astype(np.float32)
    per_prompt = _TOKENS - 1
    count = -(-len(points) // per_prompt)
    coords = np.zeros((count * per_prompt, 2), dtype=np.float32)
    coords[: len(points)] = points
    kinds = np.full(count * per_prompt, FILLER, dtype=np.int32)
    kinds[: len(points)] = 1
    prompts = assemble_prompts(
        coords.reshape(count, per_prompt, 2),
        kinds.reshape(count, per_prompt),
        corners=None,
        mask_input=np.broadcast_to(np.float32(0), (count, 1, side, side)),
        has_mask=False,
    )
    encoded = [
        one.run("prompt_encoder", feed) for feed in prompts.batches(one.manifest.masks.max_prompts)
    ]
    sparse = np.concatenate([each["sparse_embeddings"] for each in encoded])
    return PointPrompts(
        points=sparse[:, :-1].reshape(-1, sparse.shape[-1])[: len(points)],
        padding=sparse[0, -1],
        dense_embeddings=encoded[0]["dense_embeddings"][:1],
    )
