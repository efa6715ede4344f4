"""The corpus in memory: cut-outs with alpha, the nouns that they show, and what they suffer alone.

Colour is premultiplied by alpha from here on. Interpolating straight alpha gives every object a
fringe of whatever colour its transparent pixels hold, and a model learns the fringe instead of
the object.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.composed.vocabulary import canonical

_REPAINTED = 0.12  # of the cut-outs take on any hue; the rest keep near to their own


@dataclass(frozen=True)
class Corpus:
    """Decoded cut-outs and backgrounds of one split.

    Attributes:
        cutouts: uint8 [h,w,4] each, RGBA premultiplied by alpha, longest side 128 px.
        labels: int64 [M], the index into `nouns` of each cut-out.
        nouns: The names that labels index.
        styles: The drawing style of each cut-out.
        backgrounds: uint8 RGB [h,w,3] each.
        shown: For each background, int64 labels of the nouns that it shows of itself.
    """

    cutouts: tuple[np.ndarray, ...]
    labels: np.ndarray
    nouns: tuple[str, ...]
    styles: tuple[str, ...]
    backgrounds: tuple[np.ndarray, ...]
    shown: tuple[np.ndarray, ...]

    @cached_property
    def by_noun(self) -> tuple[np.ndarray, ...]:
        """For each noun that has any, the indices of its cut-outs."""
        groups = (np.flatnonzero(self.labels == k) for k in range(len(self.nouns)))
        return tuple(group for group in groups if len(group))


def load_corpus(
    folder: Path,
    *,
    split: str,
    nouns: Sequence[str] | None = None,
    objects: Path | None = None,
) -> Corpus:
    """Decode the cut-outs of a split and the backgrounds that go with it.

    Args:
        folder: The corpus: objects.zip, objects.csv, backgrounds.zip, backgrounds.csv.
        split: "train", "heldout_instance", "unseen_concept" or, in a zip of its own,
            "heldout_style". All but "train" get the held-out backgrounds.
        nouns: Keep only these, in this order, so that several splits share their label indices;
            None keeps all that the split has, sorted.
        objects: Another zip of cut-outs, with its .csv beside it, instead of objects.zip.

    Returns:
        The corpus: about 64 KB a cut-out.

    Raises:
        ValueError: The split has no cut-out of the nouns.
    """
    # Training runs one process a core; OpenCV's own threads would only fight them.
    cv2.setNumThreads(0)
    objects = objects or folder / "objects.zip"
    rows = [row for row in _rows(objects.with_suffix(".csv")) if row["split"] == split]
    present = {canonical(row["concept"]) for row in rows}
    nouns = tuple(sorted(present) if nouns is None else nouns)
    index = {noun: k for k, noun in enumerate(nouns)}
    rows = [row for row in rows if canonical(row["concept"]) in index]
    if not rows:
        raise ValueError(f"{objects} has no cut-out in the split {split!r} of the nouns asked for")
    side = "train" if split == "train" else "heldout"
    scenery = [row for row in _rows(folder / "backgrounds.csv") if row["split"] == side]
    return Corpus(
        cutouts=tuple(map(_premultiply, _decode(objects, rows, mode="RGBA"))),
        labels=np.array([index[canonical(row["concept"])] for row in rows], np.int64),
        nouns=nouns,
        styles=tuple(row["style"] for row in rows),
        backgrounds=tuple(_decode(folder / "backgrounds.zip", scenery, mode="RGB")),
        shown=tuple(_indices(row["shows"].split("|"), index) for row in scenery),
    )


def warp(
    cutout: np.ndarray, rng: np.random.Generator, *, side_px: float, hues: bool = False
) -> np.ndarray:
    """Recolour, flip, stretch, shear and turn a cut-out so that its longest side is side_px.

    With `hues`, its hue turns too: a little, or all the way round.

    Returns:
        uint8 premultiplied RGBA, just large enough to hold the result.
    """
    height, width = cutout.shape[:2]
    while max(height, width) > 1.5 * side_px and min(height, width) > 2:
        # Bilinear sampling skips pixels when it shrinks by more than 2.
        height, width = (height + 1) // 2, (width + 1) // 2
    if (height, width) != cutout.shape[:2]:
        cutout = cv2.resize(cutout, (width, height), interpolation=cv2.INTER_AREA)
    cutout = _recolour(cutout, rng, hues=hues)
    flip, stretch, shear, upright, turn = rng.random(5).tolist()
    angle = (turn - 0.5) * math.pi * (0.3 if upright < 0.85 else 1.5)
    stretch = math.exp((stretch - 0.5) * 0.4)
    shear = (shear - 0.5) * 0.3
    scale = side_px / max(height / stretch, width * stretch)
    across = scale * stretch * (-1 if flip < 0.5 else 1)
    down = scale / stretch
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[across * cos, down * (shear * cos - sin)],
                       [across * sin, down * (shear * sin + cos)]])  # fmt: skip
    reach = np.abs(matrix) @ (width, height)
    out_w, out_h = (math.ceil(x) + 2 for x in reach)
    shift = np.array([out_w - 1, out_h - 1]) / 2 - matrix @ ((width - 1) / 2, (height - 1) / 2)
    affine = np.column_stack([matrix, shift])
    return cv2.warpAffine(cutout, affine, (out_w, out_h), flags=cv2.INTER_LINEAR)


def _recolour(cutout: np.ndarray, rng: np.random.Generator, *, hues: bool) -> np.ndarray:
    """Shift brightness, contrast, saturation, tint and, with `hues`, hue, all of them linear."""
    bright, *tint, saturation, lift = rng.random(6).tolist()
    gain = (0.75 + 0.5 * bright) * (0.9 + 0.2 * np.array(tint))
    saturation = 0.4 + saturation
    matrix = np.zeros((4, 4), np.float32)
    matrix[:3, :3] = np.eye(3) * saturation + (1 - saturation) / 3
    if hues:
        hue, repainted = rng.random(2).tolist()
        turn = (hue - 0.5) * math.pi * (2.0 if repainted < _REPAINTED else 0.4)
        matrix[:3, :3] @= _turn_hue(turn).astype(np.float32)
    matrix[:3, :3] *= gain[:, None]
    matrix[:3, 3] = (lift - 0.5) * 0.2
    matrix[3, 3] = 1
    out = cv2.transform(cutout, matrix)
    # Premultiplied colour above alpha would glow through the edge.
    return np.minimum(out, out[..., 3:])


def _turn_hue(angle: float) -> np.ndarray:
    """The rotation [3,3] of RGB by `angle` radians about the greys."""
    cos, sin = math.cos(angle), math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cos * np.eye(3) + (1 - cos) / 3 + sin * cross


def paint_over(image: np.ndarray, patch: np.ndarray) -> None:
    """Porter and Duff's "over", in place: premultiplied RGBA [h,w,4] onto RGB [h,w,3]."""
    if not image.size:
        return
    rest = cv2.cvtColor(255 - patch[..., 3], cv2.COLOR_GRAY2RGB)
    image[:] = cv2.add(cv2.multiply(image, rest, scale=1 / 255), patch[..., :3])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _indices(names: Sequence[str], index: Mapping[str, int]) -> np.ndarray:
    return np.array([index[name] for name in names if name in index], np.int64)


def _decode(archive: Path, rows: Sequence[dict[str, str]], *, mode: str) -> list[np.ndarray]:
    with zipfile.ZipFile(archive) as files:
        return [
            np.asarray(Image.open(io.BytesIO(files.read(row["file"]))).convert(mode))
            for row in rows
        ]


def _premultiply(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    colour = (rgba[..., :3] * alpha + 127) // 255
    return np.concatenate([colour, alpha], axis=-1).astype(np.uint8)
