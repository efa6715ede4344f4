"""Converts mask logits to masks in the image, and masks to boxes, RLE and polygons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.limits import MAX_PIXELS
from samclip_sdk.image.upscale import upscale_above

_MAX_DIGITS = 7
"""The most digits of a run in an RLE, 5 bits each: more than any image needs."""

_SPECK_SHARE = 0.01
_BARELY = 0.5  # logits


def binarize(
    low_res: NDArray[np.float32], *, frame: Frame, mask_threshold: float = 0.0
) -> NDArray[np.bool_]:
    """Upscales logits [N,4g,4g] and thresholds them; one mask's logits are in memory at a time.

    Returns:
        bool [N,H,W], true where the logit exceeds `mask_threshold`.
    """
    masks = np.zeros((len(low_res), frame.height_px, frame.width_px), dtype=bool)
    for source, mask in zip(low_res, masks, strict=True):
        part, logits = upscale_above(source, frame=frame, threshold=mask_threshold)
        np.greater(logits, np.float32(mask_threshold), out=mask[part])
    return masks


def without_specks(low_res: NDArray[np.float32], *, mask_threshold: float) -> NDArray[np.float32]:
    """Removes specks and fills holes that are far smaller than the mask's largest piece.

    Args:
        low_res: logits [s,s].
        mask_threshold: the logit that a pixel of the mask exceeds.

    Returns:
        Logits [s,s]. The logits of specks and holes, smaller than a hundredth of the largest piece,
        are moved just across the threshold.
    """
    cleaned: NDArray[np.float32] = low_res.copy()
    pieces, sizes = _pieces(low_res > mask_threshold, connectivity=8)
    minimum = _SPECK_SHARE * sizes[1:].max(initial=0)
    specks = sizes < minimum
    specks[0] = False
    if specks.any():
        cleaned[specks[pieces]] = mask_threshold - _BARELY
    pieces, sizes = _pieces(cleaned <= mask_threshold, connectivity=4)
    holes = sizes < minimum
    holes[0] = False
    if holes.any():
        cleaned[holes[pieces]] = mask_threshold + _BARELY
    return cleaned


def _pieces(
    mask: NDArray[np.bool_], *, connectivity: int
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The pieces of a mask [s,s]: the number of each pixel's piece, 0 for none, and all sizes."""
    # OpenCV's own statistics take twice as long, and most of them are not needed here.
    count, pieces = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)
    return pieces, np.bincount(pieces.ravel(), minlength=count)  # type: ignore[return-value]  # cv2


def mask_ious(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The IoU [n,m] of each of n masks [n,H,W] with each of m masks; 0 for two empty masks."""
    a, b = (
        each.reshape(len(each), each.shape[1] * each.shape[2]).astype(np.float32)
        for each in (first, second)
    )
    shared = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1) - shared
    ious: NDArray[np.float32] = shared / np.maximum(either, 1)
    return ious


def mask_to_model(mask: NDArray[np.bool_], *, frame: Frame) -> NDArray[np.float32]:
    """The share of each model pixel that a mask [H,W] covers, divided by the largest share.

    Args:
        mask: bool [H,W] in the image, not empty.
        frame: the image's frame.

    Returns:
        float32 [S,S], 0..1, with zeros in the padding. It is never empty, even for a small mask in
        a large image.
    """
    rows, columns = frame.resized_height_px, frame.resized_width_px
    shares = np.zeros((frame.resolution, frame.resolution), dtype=np.float32)
    shares[:rows, :columns] = cv2.resize(
        mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA
    )
    largest: NDArray[np.float32] = shares / shares.max()
    return largest


def mask_to_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The tight box of a mask [H,W]: float32 [4], XYXY in image pixels, zeros for an empty mask.

    The far edges are exclusive: a single pixel at (3, 5) has the box [3, 5, 4, 6], as in COCO.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, dtype=np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def mask_to_rle(mask: NDArray[np.bool_]) -> dict[str, list[int] | str]:
    """Encodes a mask [H,W] as COCO's compressed RLE, equal to pycocotools' to the byte.

    Runs go down the columns, beginning with zeros. From the fourth on, each is stored as the
    difference to the last run of its own kind, in groups of 5 bits, lowest first, as text.

    Returns:
        {"size": [H, W], "counts": text}, ready for JSON.
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = [0, 0] if flat.size and flat[0] else [0]
    runs = np.diff(np.concatenate([start, edges, [flat.size]]))
    height, width = mask.shape
    return runs_to_rle(runs, size=(height, width))


def runs_to_rle(runs: NDArray[np.integer], *, size: tuple[int, int]) -> dict[str, list[int] | str]:
    """Encodes the lengths of runs, zeros first, as `mask_to_rle` does.

    Args:
        runs: integer [n].
        size: height and width of the image.
    """
    values = runs.astype(np.int64)
    values[3:] -= values[1:-2].copy()
    digits = []
    more = np.ones(len(values), dtype=bool)
    while more.any():
        digit = values & 0x1F
        values >>= 5
        # Done when the rest is only the sign of the last digit.
        last = values == np.where(digit & 0x10, -1, 0)
        digits.append(np.where(more, digit + 48 + np.where(last, 0, 0x20), 0))
        more &= ~last
    text = np.stack(digits, axis=1).ravel()
    return {"size": [*size], "counts": text[text > 0].astype(np.uint8).tobytes().decode()}


def rle_to_mask(rle: dict[str, list[int] | str]) -> NDArray[np.bool_]:
    """Decodes COCO's compressed RLE, `{"size": [H, W], "counts": text or bytes}`, to bool [H,W].

    Raises:
        ValueError: as `rle_to_runs`.
    """
    height, width = (int(side) for side in rle["size"])
    runs = rle_to_runs(rle)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape((height, width), order="F"))


def rle_to_runs(rle: dict[str, list[int] | str]) -> NDArray[np.int64]:
    """The lengths of the runs of COCO's compressed RLE, down the columns, beginning with zeros.

    Raises:
        ValueError: the counts are damaged or do not fill the size, or no image has that size.
    """
    height, width = (int(side) for side in rle["size"])
    if min(height, width) < 0 or height * width > MAX_PIXELS:
        raise ValueError(f"no image has {height} x {width} pixels")
    counts = rle["counts"]
    raw = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    digits = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((digits & 0x20) == 0)
    if not len(ends) or ends[-1] != len(digits) - 1 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("the RLE's counts are damaged")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_DIGITS:
        raise ValueError("the RLE's counts are damaged")
    shift = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((digits & 0x1F) << shift, starts)
    runs -= np.where(digits[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"the RLE's counts do not fill {height} x {width} pixels")
    return runs


def mask_to_polygons(
    mask: NDArray[np.bool_], *, tolerance_px: float = 0.0
) -> list[NDArray[np.int32]]:
    """Outlines the parts of a mask [H,W] along the edges of its pixels, the largest part first.

    A polygon [n,2] holds the corners (x, y) in image pixels; the first one is not repeated at the
    end. A list of points cannot hold a hole, so a line there and back joins the hole to the outline
    around it. The polygons fill exactly the pixels of the mask. COCO's `segmentation` is
    `[each.ravel().tolist() for each in polygons]`.

    Args:
        mask: bool [H,W].
        tolerance_px: how far the outline may leave the mask's edge, for fewer corners.
    """
    x0, y0, x1, y1 = mask_to_box(mask).astype(int).tolist()
    if x0 == x1:
        return []
    # cv2 follows the centres of pixels. At twice the size each pixel is four, and centres lie on
    # both sides of every edge of a pixel, so that they give the edge's place.
    part = mask[y0:y1, x0:x1].view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, (levels,) = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [
        _simplify(_corners((contour[:, 0] + 1) // 2 + (x0, y0)), tolerance_px=tolerance_px)
        for contour in contours
    ]
    holes = defaultdict(list)
    for ring, parent in zip(rings, levels[:, 3].tolist(), strict=True):
        holes[parent].append(ring)
    parts = [(ring, holes[index]) for index, ring in enumerate(rings) if levels[index, 3] < 0]
    parts.sort(key=lambda part: -cv2.contourArea(part[0]))
    return [_with_holes(ring, inner) for ring, inner in parts]


def _corners(points: NDArray[np.int32]) -> NDArray[np.int32]:
    """A ring [n,2] without points that repeat the last one or lie on a straight line."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)].astype(np.int32)
    before = np.sign(points - np.roll(points, 1, axis=0))
    turns: NDArray[np.bool_] = (before != np.roll(before, -1, axis=0)).any(axis=1)
    return points[turns]


def _simplify(ring: NDArray[np.int32], *, tolerance_px: float) -> NDArray[np.int32]:
    if not tolerance_px:
        return ring
    fewer = cv2.approxPolyDP(ring[:, None], tolerance_px, closed=True)[:, 0].astype(np.int32)
    return fewer if len(fewer) > 2 else ring


def _with_holes(ring: NDArray[np.int32], holes: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """A ring that also goes around each hole, from a corner of the ring near the hole."""
    step = -(-len(ring) // 1000)  # A near corner is enough, and no mask takes minutes.
    corners = ring[::step].astype(np.int64)
    walks: dict[int, list[NDArray[np.int32]]] = defaultdict(list)
    for hole in holes:
        near = step * int(((corners - hole[0]) ** 2).sum(axis=1).argmin())
        walks[near] += [hole, hole[:1], ring[near : near + 1]]
    cuts = [0, *(near + 1 for near in sorted(walks)), len(ring)]
    pieces = [ring[start:stop] for start, stop in pairwise(cuts)]
    for piece, near in enumerate(sorted(walks)):
        pieces[piece] = np.concatenate([pieces[piece], *walks[near]])
    return np.concatenate(pieces)
