"""Plausible inputs of any of the model's graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec

START, END = 49406, 49407


def draw_feed(
    specs: Sequence[TensorSpec], *, seed: int = 0, side_px: int = 64, **lengths: int
) -> dict[str, NDArray[np.generic]]:
    """Noise of each input's kind.

    An image has padding below, a prompt's last point is filler, and the texts grow longer.

    Args:
        specs: the inputs.
        seed: of the noise.
        side_px: points lie in a square of this side.
        lengths: of the symbolic axes.
    """
    rng = np.random.default_rng(seed)
    feed: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        shape = [lengths[axis] if isinstance(axis, str) else axis for axis in spec.shape]
        values = rng.normal(size=shape)
        if spec.name == "image":
            values = rng.integers(0, 256, size=shape)
        elif spec.name == "input_ids":
            values = np.zeros(shape)
            for index, row in enumerate(values):
                words = rng.integers(1000, 30000, size=index * (shape[1] - 2) // shape[0])
                row[: len(words) + 2] = [START, *words, END]
        elif spec.name == "point_labels":
            values = rng.integers(-2, 4, size=shape)
        elif spec.name == "point_coords":
            values = rng.uniform(0, side_px, size=shape)
        elif spec.name == "has_mask_input":
            values = rng.integers(0, 2, size=shape)
        elif spec.name == "image_tokens" and not any(side % 2 for side in shape[-2:]):
            # The coarsest features of a convolutional encoder fill four cells each.
            values = values[..., ::2, ::2].repeat(2, axis=-1).repeat(2, axis=-2)
        elif spec.name in ("token_mask", "sparse_mask"):
            values = np.ones(shape)
            values[:, -1:] = 0
        feed[spec.name] = values.astype(spec.dtype)
    return feed
