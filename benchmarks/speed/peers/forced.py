"""What is forced on every peer: with random weights, cost must not depend on what is found.

Nothing of the SDK is imported by peers: their import times and memory are their own.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.subject import PICTURE_PX, noise_picture

SEED = 0
LABELS = 1000
CLASSES = 3
POINT = (PICTURE_PX[0] / 2, PICTURE_PX[1] / 2)
"""(x, y) in pixels; one mask is asked for, as of the SDK."""

CLIP_SCALE = 100.0
"""CLIP's trained logit scale: a random one would do the same work."""

RANDOM_WEIGHTS = "random weights (seed 0); text embeddings are drawn, not computed"
"""The note that all peers share."""


def picture() -> NDArray[np.uint8]:
    """The picture that the SDK is asked about too: uint8 RGB [683,1024,3]."""
    return noise_picture(*PICTURE_PX)


def unit_embeddings(count: int, *, width: int) -> NDArray[np.float32]:
    """Cached text embeddings, drawn: float32 [count,width], unit length."""
    drawn = np.random.default_rng(SEED).standard_normal((count, width), dtype=np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def kept_proposals(proposals: int, *, of: int) -> NDArray[np.int64]:
    """Which of a model's proposals pass its filters: indices, evenly spread.

    Raises:
        ValueError: it makes fewer.
    """
    if not 0 < proposals <= of:
        raise ValueError(f"{proposals} proposals cannot be kept: ask for 1 to {of}")
    return np.linspace(0, of - 1, proposals).astype(np.int64)


def crop_box(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """A box XYXY in whole pixels, at least one wide and high: a random mask may be empty."""
    left, top, right, bottom = (int(side) for side in box)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def paint(
    masks: NDArray[np.bool_], embeddings: NDArray[np.float32], classes: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Gives each proposal to its nearest class: masks [K,H,W] to class masks bool [C,H,W]."""
    painted = np.zeros((len(classes), *masks.shape[1:]), np.bool_)
    for mask, nearest in zip(masks, (embeddings @ classes.T).argmax(axis=1), strict=True):
        painted[nearest] |= mask
    return painted


def rank(embedding: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [L] of labels [L,E] for a picture's unit embedding [E]."""
    logits = CLIP_SCALE * (labels @ embedding)
    weights = np.exp(logits - logits.max())
    probabilities: NDArray[np.float32] = weights / weights.sum()
    return probabilities


def stored_bytes(*modules: Any) -> int:
    """What the parameters of torch modules take in a checkpoint of their precision."""
    return sum(
        tensor.numel() * tensor.element_size()
        for module in modules
        for tensor in module.state_dict().values()
    )


def require(module: str, *, package: str) -> None:
    """Says at once that a peer cannot be measured here.

    Raises:
        ModuleNotFoundError: its package is not installed; the text has the command.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(
            f"{package} is not installed: pip install -e '.[peers]', or pip install {package}",
            name=module,
        )


def versions(*packages: str) -> dict[str, str]:
    """The versions of installed packages."""
    return {package: metadata.version(package) for package in packages}
