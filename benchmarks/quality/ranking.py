"""Classification as ranks: how many labels are placed before the right one.

The floor, which needs no learning, is the nearest training cut-out by HOG and colour. HOG is Dalal
and Triggs's: gradients of the strongest colour channel, nine unsigned orientations, 8 x 8 px cells,
2 x 2 cells a block, L2-Hys. It is written out here since OpenCV 5 no longer has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from benchmarks.quality.drawings import Drawings
from benchmarks.quality.record import UNSEEN, TopK
from benchmarks.quality.scores import rank_of_truth, share_within
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.text.unit_length import normalize

Rank = Callable[[np.ndarray], np.ndarray]
"""A picture, uint8 RGB [H,W,3], to a score for each noun, float [K]; only the order counts."""

_SIDE_PX = 64
_CELL_PX = 8
_BINS = 9
_HYS = 0.2  # a single strong edge counts no more than this in its block


def measure_ranking(
    rank: Rank, drawings: Drawings, *, who: str, name: str | None = None
) -> Iterator[TopK]:
    """Ranks the nouns of clean and of composed pictures; `name` is for the progress bar.

    Of nouns never taught there are two rows each: told apart among themselves, and among the taught
    ones too.
    """
    clean = drawings.clean()
    passed_over = [range(drawings.taught), ()] if drawings.split == UNSEEN else [()]
    for picture, pictures, count in (
        ("clean", clean, len(clean)),
        ("composed", drawings.composed(), drawings.settings.pictures),
    ):
        ranks: list[list[int]] = [[] for _ in passed_over]
        shown = f"classify: {drawings.split}, {picture}, {name or who}"
        for each in track(pictures, shown, total=count):
            scores = rank(each.image)
            for own, others in zip(ranks, passed_over, strict=True):
                neither = [*others, *each.also]
                own.append(rank_of_truth(scores, right=[each.label], passed_over=neither))
        for own, others in zip(ranks, passed_over, strict=True):
            yield TopK(
                who=who,
                split=drawings.split,
                picture=picture,
                labels=len(drawings.nouns) - len(others),
                pictures=len(own),
                top1=share_within(own, 1),
                top5=share_within(own, 5),
            )


def embed_nouns(model: SamClip, nouns: Sequence[str]) -> np.ndarray:
    """Embeds K nouns as `SamClip.classify` does: float32 [K,E], unit length.

    One that is there twice, as in ImageNet, has two equal rows; `classify` would refuse it.
    """
    return np.stack([embed_noun(model, noun) for noun in track(nouns, "nouns")])


def embed_noun(model: SamClip, noun: str) -> np.ndarray:
    """The mean of a noun's templates, float32 [E], unit length."""
    prompts = [each.replace("{}", noun) for each in model.manifest.text.templates]
    return normalize(model.embed_text(prompts).mean(axis=0))


def by_logits(model: SamClip, nouns: Sequence[str]) -> Rank:
    """Ranks nouns by a model's own classification."""
    labels = list(nouns)
    return lambda image: model.classify(image, labels).logits


class NearestCutout:
    """Ranks K nouns by their most similar of M training pictures, uint8 RGB [S,S,3] each."""

    def __init__(self, pictures: Sequence[np.ndarray], *, labels: np.ndarray, num_nouns: int):
        self._features = np.stack([features(picture) for picture in pictures])
        self._labels = labels
        self._num_nouns = num_nouns

    def scores(self, picture: np.ndarray) -> np.ndarray:
        """The cosine to the most similar picture of each noun: float32 [K], -1 for one without."""
        scores = np.full(self._num_nouns, -1, np.float32)
        np.maximum.at(scores, self._labels, self._features @ features(picture))
        return scores


def features(picture: np.ndarray) -> np.ndarray:
    """Shape and colour of a picture, uint8 RGB [S,S,3], as one unit vector, float32 [D]."""
    small = cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    shape, colour = hog(small), _colour(small)
    return _unit(np.concatenate([_unit(shape - shape.mean()), _unit(colour)]))


def hog(picture: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of a picture, uint8 RGB [S,S,3]: float32 [D]."""
    pixels = picture.astype(np.float32)
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
    cells = len(picture) // _CELL_PX
    histograms = votes.reshape(cells, _CELL_PX, cells, _CELL_PX, _BINS).sum(axis=(1, 3))
    corners = (histograms[i : cells - 1 + i, j : cells - 1 + j] for i in (0, 1) for j in (0, 1))
    blocks = np.concatenate(list(corners), axis=-1)
    return _unit(np.minimum(_unit(blocks), _HYS)).ravel()


def _colour(picture: np.ndarray) -> np.ndarray:
    """Mean CIELAB colour of 8 x 8 parts, as it differs from the picture's border, flattened."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    coarse = cv2.resize(lab, (8, 8), interpolation=cv2.INTER_AREA)
    return (coarse - np.median(border, axis=0)).ravel()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)
