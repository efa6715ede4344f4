"""A floor that needs no learning: the nearest training cut-out by HOG and colour.

HOG is Dalal and Triggs's: gradients of the strongest colour channel, nine unsigned orientations,
8 x 8 px cells, 2 x 2 cells a block, L2-Hys. It is written out since OpenCV 5 no longer has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SIDE_PX = 64
_CELL_PX = 8
_BINS = 9
_HYS = 0.2  # a single strong edge counts no more than this in its block


class NearestCutout:
    """Ranks K nouns by their most similar of M training images, uint8 RGB [S,S,3] each."""

    def __init__(self, images: Sequence[np.ndarray], *, labels: np.ndarray, num_nouns: int):
        self._features = np.stack([features(image) for image in images])
        self._labels = labels
        self._num_nouns = num_nouns

    def scores(self, image: np.ndarray) -> np.ndarray:
        """The cosine to the most similar image of each noun: float32 [K], -1 for one without."""
        scores = np.full(self._num_nouns, -1, np.float32)
        np.maximum.at(scores, self._labels, self._features @ features(image))
        return scores


def features(image: np.ndarray) -> np.ndarray:
    """Shape and colour of an image, uint8 RGB [S,S,3], as one unit vector, float32 [D]."""
    small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    shape, colour = hog(small), _colour(small)
    return _unit(np.concatenate([_unit(shape - shape.mean()), _unit(colour)]))


def hog(image: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of an image, uint8 RGB [S,S,3]: float32 [D]."""
    pixels = image.astype(np.float32)
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    strength = np.hypot(across, down)
    channel = strength.argmax(axis=-1)[..., None]
    across, down, strength = (
        np.take_along_axis(x, channel, axis=-1)[..., 0] for x in (across, down, strength)
    )
    # Unsigned: light on dark is dark on light. Each gradient is shared by its two nearest bins.
    position = (np.arctan2(down, across) % np.pi) * _BINS / np.pi - 0.5
    lower = np.floor(position).astype(np.int64)
    share = (position - lower).astype(np.float32)
    votes = np.zeros((*strength.shape, _BINS), np.float32)
    for bins, part in ((lower % _BINS, 1 - share), ((lower + 1) % _BINS, share)):
        np.put_along_axis(votes, bins[..., None], (part * strength)[..., None], axis=-1)
    cells = len(image) // _CELL_PX
    histograms = votes.reshape(cells, _CELL_PX, cells, _CELL_PX, _BINS).sum(axis=(1, 3))
    corners = (histograms[i : cells - 1 + i, j : cells - 1 + j] for i in (0, 1) for j in (0, 1))
    blocks = np.concatenate(list(corners), axis=-1)
    return _unit(np.minimum(_unit(blocks), _HYS)).ravel()


def _colour(image: np.ndarray) -> np.ndarray:
    """Mean CIELAB colour of 8 x 8 parts, as it differs from the image's border, flattened."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    coarse = cv2.resize(lab, (8, 8), interpolation=cv2.INTER_AREA)
    return (coarse - np.median(border, axis=0)).ravel()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)
