"""What is forced on every peer: with random weights, cost must not depend on what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.speed.subject import IMAGE_PX, Opened, noise_image

SEED = 0
LABELS = 1000
CLASSES = 3
POINT = (IMAGE_PX[0] / 2, IMAGE_PX[1] / 2)
"""(x, y) in pixels."""

ONE_POINT: dict[str, Any] = {
    "point_coords": np.array([POINT]),
    "point_labels": np.array([1]),
    "multimask_output": False,
}
"""What a SamPredictor is asked: one mask, as of the SDK."""

SAM = "vit_b"
"""Of segment-anything's registry."""

POINTS_PER_SIDE, MASKS_A_POINT = 8, 3
"""Of everything-mode."""

RANDOM_WEIGHTS = "random weights (seed 0); text embeddings are drawn, not computed"
"""The note that all peers share."""


@dataclass
class TwoModels:
    """SAM and CLIP as two models, and the paper's text-to-mask of the two (appendix C.1).

    SAM ViT-B makes `proposals` masks in everything-mode, over a grid of points. CLIP, an
    architecture of open_clip, sees each proposal's box. The image is encoded once by each model,
    and what it is asked for shares that.

    A subclass has `_load`, which loads both and returns notes, the bytes of artifacts and the width
    of CLIP's embeddings; `_encode_for_sam`; `_point`, the mask of one point, [1,H,W]; `_propose`,
    the kept masks of everything-mode [K,H,W] and the box XYXY of each; and `_embed`, the unit
    embeddings [K,E] of images, in one batch.
    """

    engine: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    precision: ClassVar[str] = "fp32"

    clip: str = "ViT-L-14"
    proposals: int = 10

    def __post_init__(self) -> None:
        # Those of everything-mode's masks that pass its filters, by force.
        self._kept = kept_proposals(self.proposals, of=MASKS_A_POINT * POINTS_PER_SIDE**2)
        self._image = noise_image()

    def open(self) -> Opened:
        """Loads both models."""
        notes, artifact_bytes, width = self._load()
        self._labels = unit_embeddings(LABELS, width=width)
        self._classes = unit_embeddings(CLASSES, width=width)
        told = (
            RANDOM_WEIGHTS,
            notes,
            "encode is SAM's image encoder, classify runs CLIP's",
            f"text3: everything-mode of {POINTS_PER_SIDE**2} points, on SAM's encoding; "
            f"{self.proposals} masks forced, then {self.proposals} crops through CLIP in one batch",
            f"three_ways is these in turn; CLIP sees {self.proposals + 1} images",
        )
        return Opened(
            name=f"SAM {SAM} + OpenCLIP {self.clip}, {self.engine}",
            packages=self.packages,
            precision=self.precision,
            notes="; ".join(told),
            artifact_bytes=artifact_bytes,
            workloads={
                "encode": self._encode_for_sam,
                "classify": self._classify,
                "point": self._point,
                "text3": self._text_to_mask,
            },
            adds_up=True,
        )

    def _classify(self) -> NDArray[np.float32]:
        """Probabilities of 1,000 labels, CLIP's image encoder included."""
        return rank(self._embed([Image.fromarray(self._image)])[0], self._labels)

    def _text_to_mask(self) -> NDArray[np.bool_]:
        """Masks of three classes, [3,H,W], of the image that SAM has encoded."""
        masks, boxes = self._propose()
        whole = Image.fromarray(self._image)
        crops = [whole.crop(crop_box(box)) for box in boxes]
        return paint(masks, self._embed(crops), self._classes)


def unit_embeddings(count: int, *, width: int) -> NDArray[np.float32]:
    """Cached text embeddings, drawn: float32 [count,width], unit length."""
    drawn = np.random.default_rng(SEED).standard_normal((count, width), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def kept_proposals(proposals: int, *, of: int) -> NDArray[np.int64]:
    """Which of a model's proposals pass its filters: indices, evenly spread."""
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
    """Probabilities [L] of labels [L,E] for an image's unit embedding [E]."""
    logits = 100.0 * (labels @ embedding)  # CLIP's trained scale; a random one does the same work
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def stored_bytes(*modules: Any) -> int:
    """What the parameters of torch modules take in a checkpoint of their precision."""
    tensors = (tensor for module in modules for tensor in module.state_dict().values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
