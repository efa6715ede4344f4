"""Scenes composed from cut-outs: pictures whose masks, boxes and names are exact by construction.

Cut-outs of one split are pasted over backgrounds of the same side of the split: turned, flipped,
stretched, recoloured, shaded, hiding one another. All of it runs on colour premultiplied by
alpha: interpolating straight alpha gives every object a fringe of whatever colour its transparent
pixels hold, and a model learns the fringe instead of the object.

Everything random comes from the generator passed in: same generator state, same scene.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.backdrops import draw_backdrop, finish
from training.vocabulary import canonical

MIN_VISIBLE = 0.35  # of an object's own area; what is hidden more than that has no fair label
TWO_OF_A_KIND = 0.25  # of the scenes
_OVERHANG = 0.15  # of an object's side may lie outside the picture
_PLACEMENTS = 4  # tries before an object that would hide another is dropped
_OPAQUE = 128  # alpha from which a pixel is the object's


@dataclass(frozen=True)
class Corpus:
    """Decoded cut-outs and backgrounds of one split.

    Attributes:
        cutouts: uint8 [h,w,4] each, RGBA premultiplied by alpha, longest side 128 px.
        labels: int64 [M], the index into `nouns` of each cut-out.
        nouns: The names that labels index.
        styles: The drawing style of each cut-out.
        backgrounds: uint8 RGB [h,w,3] each.
    """

    cutouts: tuple[np.ndarray, ...]
    labels: np.ndarray
    nouns: tuple[str, ...]
    styles: tuple[str, ...]
    backgrounds: tuple[np.ndarray, ...]

    @cached_property
    def by_noun(self) -> tuple[np.ndarray, ...]:
        """For each noun that has any, the indices of its cut-outs."""
        groups = (np.flatnonzero(self.labels == k) for k in range(len(self.nouns)))
        return tuple(group for group in groups if len(group))


@dataclass(frozen=True)
class Scene:
    """One picture and all that is in it, in pixels of the picture.

    Attributes:
        image: uint8 RGB [S,S,3].
        masks: bool [N,S,S], the visible part of each object; no two overlap.
        labels: int64 [N], indices into the corpus's nouns.
        boxes: float32 [N,4], XYXY around the visible part; right and bottom edges are exclusive,
            so x2 - x1 is the width in pixels.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


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
    )


def compose_scene(
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    size_px: int,
    count: tuple[int, int] = (1, 5),
    scale: tuple[float, float] = (0.14, 0.95),
) -> Scene:
    """Compose one scene.

    Args:
        corpus: Where objects and backgrounds come from. Nouns are drawn evenly, whatever the
            number of their cut-outs.
        rng: The only source of chance.
        size_px: Side S of the square picture.
        count: Fewest and most objects to paste. Fewer stay where no place is left, never none.
        scale: Range of an object's longest side, log-uniform, as a fraction of the picture's.

    Returns:
        The scene. At least `MIN_VISIBLE` of every object is in sight.
    """
    wanted = int(rng.integers(count[0], count[1] + 1))
    image = draw_backdrop(corpus.backgrounds, rng, size_px=size_px)
    owner = np.full((size_px, size_px), -1, np.int8)  # the object in sight at each pixel
    chosen: list[int] = []
    areas: list[int] = []
    visible: list[int] = []
    # Large things go behind: otherwise they would hide most of what was pasted before.
    low, high = np.log(scale)
    sides = np.sort(np.exp(rng.uniform(low, high, wanted)))[::-1] * size_px
    twins = wanted > 1 and rng.random() < TWO_OF_A_KIND
    while not chosen:
        for side in sides:
            like = corpus.labels[chosen[0]] if twins and len(chosen) == 1 else None
            pick = _pick(corpus, rng, like=like)
            patch = _warp(corpus.cutouts[pick], rng, side_px=side)
            solid = patch[..., 3] >= _OPAQUE
            corner = _place(solid, rng, owner=owner, areas=areas, visible=visible)
            if corner is None:
                continue
            _paste(image, patch, rng, corner=corner)
            roi, inner = _clip(corner, solid.shape, size_px)
            owner[roi][solid[inner]] = len(chosen)
            chosen.append(pick)
    masks = owner == np.arange(len(chosen), dtype=np.int8)[:, None, None]
    return Scene(
        image=finish(image, rng),
        masks=masks,
        labels=corpus.labels[chosen],
        boxes=np.array([_box(mask) for mask in masks], np.float32),
    )


def clean_picture(corpus: Corpus, index: int, *, size_px: int) -> np.ndarray:
    """One cut-out, upright and centred over plain light grey: the clean evaluation.

    Args:
        corpus: Where the cut-out comes from.
        index: Which of its cut-outs.
        size_px: Side S of the square picture; the cut-out's longest side is 80 % of it.

    Returns:
        uint8 RGB [S,S,3].
    """
    cutout = corpus.cutouts[index]
    ratio = 0.8 * size_px / max(cutout.shape[:2])
    height, width = (max(1, round(side * ratio)) for side in cutout.shape[:2])
    shrink = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    patch = cv2.resize(cutout, (width, height), interpolation=shrink)
    image = np.full((size_px, size_px, 3), 236, np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    _over(image[top : top + height, left : left + width], patch)
    return image


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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


def _pick(corpus: Corpus, rng: np.random.Generator, *, like: int | None) -> int:
    """A cut-out of the noun `like`, or of any noun, every noun as likely."""
    if like is None:
        group = corpus.by_noun[int(rng.integers(len(corpus.by_noun)))]
    else:
        group = np.flatnonzero(corpus.labels == like)
    return int(group[int(rng.integers(len(group)))])


def _warp(cutout: np.ndarray, rng: np.random.Generator, *, side_px: float) -> np.ndarray:
    """Recolour, flip, stretch, shear and turn a cut-out so that its longest side is side_px.

    Returns:
        uint8 premultiplied RGBA, just large enough to hold the result.
    """
    height, width = cutout.shape[:2]
    while max(height, width) > 1.5 * side_px and min(height, width) > 2:
        # Bilinear sampling skips pixels when it shrinks by more than 2.
        height, width = (height + 1) // 2, (width + 1) // 2
    if (height, width) != cutout.shape[:2]:
        cutout = cv2.resize(cutout, (width, height), interpolation=cv2.INTER_AREA)
    cutout = _recolour(cutout, rng)
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


def _recolour(cutout: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift brightness, contrast, saturation and tint, all linear in premultiplied colour."""
    bright, *tint, saturation, lift = rng.random(6).tolist()
    gain = (0.75 + 0.5 * bright) * (0.9 + 0.2 * np.array(tint))
    saturation = 0.4 + saturation
    matrix = np.zeros((4, 4), np.float32)
    matrix[:3, :3] = np.eye(3) * saturation + (1 - saturation) / 3
    matrix[:3, :3] *= gain[:, None]
    matrix[:3, 3] = (lift - 0.5) * 0.2
    matrix[3, 3] = 1
    out = cv2.transform(cutout, matrix)
    # Premultiplied colour above alpha would glow through the edge.
    return np.minimum(out, out[..., 3:])


def _place(
    solid: np.ndarray,
    rng: np.random.Generator,
    *,
    owner: np.ndarray,
    areas: list[int],
    visible: list[int],
) -> tuple[int, int] | None:
    """Find a corner (top, left) where enough of all objects stays visible, and book the areas."""
    size_px = len(owner)
    area = int(np.count_nonzero(solid))
    for _ in range(_PLACEMENTS):
        corner = tuple(round(_spot(rng.random(), side, size_px)) for side in solid.shape)
        roi, inner = _clip(corner, solid.shape, size_px)
        covered = owner[roi][solid[inner]]
        hidden = np.bincount(covered + 1, minlength=len(areas) + 1)[1:]
        left = np.array(visible, np.int64) - hidden
        if (
            len(covered)
            and len(covered) >= MIN_VISIBLE * area
            and np.all(left >= MIN_VISIBLE * np.array(areas))
        ):
            visible[:] = [*left.tolist(), len(covered)]
            areas.append(area)
            return corner
    return None


def _spot(chance: float, side: int, size_px: int) -> float:
    """Where along an axis a side starts: anywhere that leaves most of it inside."""
    low, high = -_OVERHANG * side, size_px - (1 - _OVERHANG) * side
    if low > high:  # larger than the picture
        low, high = high, low
    return low + chance * (high - low)


def _clip(
    corner: tuple[int, int], shape: tuple[int, int], size_px: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a patch that lies in the picture, as slices of the picture and of the patch."""
    roi, inner = [], []
    for start, side in zip(corner, shape, strict=True):
        first, last = max(start, 0), max(0, min(start + side, size_px))
        roi.append(slice(first, last))
        inner.append(slice(first - start, last - start))
    return (roi[0], roi[1]), (inner[0], inner[1])


def _paste(
    image: np.ndarray, patch: np.ndarray, rng: np.random.Generator, *, corner: tuple[int, int]
) -> None:
    """Blend a patch into the picture, in a third of cases after the shadow that it casts."""
    if rng.random() < 0.33:
        right, down, dark, soft = rng.random(4).tolist()
        reach = max(patch.shape[:2])
        blur = 1 + int(0.12 * soft * reach)
        alpha = cv2.copyMakeBorder(patch[..., 3], *[2 * blur] * 4, cv2.BORDER_CONSTANT)
        alpha = cv2.blur(cv2.blur(alpha, (blur, blur)), (blur, blur))
        shadow = np.zeros((*alpha.shape, 4), np.uint8)
        shadow[..., 3] = alpha * (0.2 + 0.5 * dark)
        top = corner[0] - 2 * blur + int(0.12 * down * reach)
        left = corner[1] - 2 * blur + int(0.2 * (right - 0.5) * reach)
        roi, inner = _clip((top, left), alpha.shape, len(image))
        _over(image[roi], shadow[inner])
    roi, inner = _clip(corner, patch.shape[:2], len(image))
    _over(image[roi], patch[inner])


def _over(image: np.ndarray, patch: np.ndarray) -> None:
    """Porter and Duff's "over", in place: premultiplied RGBA [h,w,4] onto RGB [h,w,3]."""
    if not image.size:
        return
    rest = cv2.cvtColor(255 - patch[..., 3], cv2.COLOR_GRAY2RGB)
    image[:] = cv2.add(cv2.multiply(image, rest, scale=1 / 255), patch[..., :3])


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
