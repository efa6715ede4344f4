"""Mask logits -> masks in the image, and masks -> boxes, RLE, polygons and overlays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from samclip_sdk.image import Frame
from samclip_sdk.upscale import upscale_above

COLOURS: tuple[tuple[int, int, int], ...] = (
    (255, 77, 77), (51, 145, 255), (255, 200, 33), (56, 193, 114), (186, 104, 240),
    (255, 138, 36), (0, 199, 209), (255, 105, 180), (150, 210, 50), (110, 90, 250),
    (190, 120, 70), (0, 150, 136), (214, 40, 140), (140, 170, 220), (128, 128, 0),
    (235, 150, 140),
)  # fmt: skip
"""RGB, neighbours far apart in hue; used in a circle."""

_FILL = 0.45
_MAX_CAPTION = 40


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
    values = np.diff(np.concatenate([start, edges, [flat.size]])).astype(np.int64)
    values[3:] -= values[1:-2].copy()
    digits = []
    more = np.ones(len(values), dtype=bool)
    while more.any():
        digit = values & 0x1F
        values >>= 5
        # Done once what is left is nothing but the sign of the digit just taken.
        last = values == np.where(digit & 0x10, -1, 0)
        digits.append(np.where(more, digit + 48 + np.where(last, 0, 0x20), 0))
        more &= ~last
    text = np.stack(digits, axis=1).ravel()
    return {"size": [*mask.shape], "counts": text[text > 0].astype(np.uint8).tobytes().decode()}


def rle_to_mask(rle: dict[str, list[int] | str]) -> NDArray[np.bool_]:
    """Decodes COCO's compressed RLE, `{"size": [H, W], "counts": text or bytes}`, to bool [H,W].

    Raises:
        ValueError: the counts are damaged or do not fill the size.
    """
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    raw = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    digits = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((digits & 0x20) == 0)
    if not len(ends) or ends[-1] != len(digits) - 1 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("the RLE's counts are damaged")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    shift = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((digits & 0x1F) << shift, starts)
    runs -= np.where(digits[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"the RLE's counts do not fill {height} x {width} pixels")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape((height, width), order="F"))


def mask_to_polygons(mask: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """Outlines the parts of a mask [H,W]: int32 [n,2] each, (x, y) of pixels on the outline.

    The largest comes first. Holes are not told, and parts of one or two pixels have no outline:
    where the mask must come back exactly, use RLE.
    """
    polygons = [np.asarray(each[:, 0], dtype=np.int32) for each in _contours(mask)]
    return sorted((each for each in polygons if len(each) > 2), key=cv2.contourArea, reverse=True)


def _contours(mask: NDArray[np.bool_]) -> Sequence[NDArray[np.int32]]:
    plane = np.ascontiguousarray(mask).view(np.uint8)
    contours, _ = cv2.findContours(plane, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return contours  # type: ignore[return-value]  # cv2 types any array


def draw_overlay(
    image: NDArray[np.uint8],
    *,
    masks: Iterable[NDArray[np.bool_]],
    captions: Sequence[str] | None = None,
    colours: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Draws masks over an image: a tint, an outline, and a caption in the middle of each.

    Large masks are drawn first, so that small ones inside them stay visible; empty ones are left
    out, their captions too.

    Args:
        image: uint8 [H,W,3], RGB.
        masks: bool [H,W] each.
        captions: one for each mask.
        colours: for each mask its place in `COLOURS`; by default 0, 1, 2, ...

    Returns:
        uint8 [H,W,3], a new image.
    """
    canvas = image.copy()
    line = max(1, round(max(image.shape[:2]) / 450))
    tags = []
    planes = list(masks)
    areas = [int(mask.sum()) for mask in planes]
    for index in sorted(range(len(planes)), key=lambda index: -areas[index]):
        if not areas[index]:
            continue
        mask = planes[index]
        colour = COLOURS[(index if colours is None else colours[index]) % len(COLOURS)]
        x0, y0, x1, y1 = mask_to_box(mask).astype(int).tolist()
        region, inside = canvas[y0:y1, x0:x1], mask[y0:y1, x0:x1]
        tint = region[inside] * (1 - _FILL) + np.array(colour, dtype=np.float32) * _FILL
        region[inside] = np.rint(tint).astype(np.uint8)
        contours = _contours(mask)
        cv2.drawContours(canvas, contours, -1, (255, 255, 255), 2 * line + 1, cv2.LINE_AA)
        cv2.drawContours(canvas, contours, -1, colour, 2 * line - 1, cv2.LINE_AA)
        if captions is not None:
            x, y = _middle(inside)
            tags.append((captions[index], (x0 + x, y0 + y), colour))
    return draw_captions(canvas, captions=tags)


def draw_captions(
    image: NDArray[np.uint8],
    *,
    captions: Iterable[tuple[str, tuple[float, float], tuple[int, int, int]]],
) -> NDArray[np.uint8]:
    """Writes captions (text, centre (x, y) in image pixels, RGB of the plate behind it).

    They stay inside the image, and one that would cover another moves below it.

    Returns:
        uint8 [H,W,3], a new image.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = max(11, round(max(picture.size) / 48))
    pad = size // 4
    taken: list[tuple[int, int, int, int]] = []
    for text, (x, y), colour in captions:
        font = _font(text, size=size)
        shown = " ".join(text.split())
        shown = shown if len(shown) <= _MAX_CAPTION else shown[: _MAX_CAPTION - 1] + "…"
        width, height = round(draw.textlength(shown, font=font)) + 2 * pad, size + 2 * pad
        left = max(0, round(min(x - width / 2, picture.width - width)))
        top = max(0, round(min(y - height / 2, picture.height - height)))
        top = _free_row(left, top, width=width, height=height, bottom=picture.height, taken=taken)
        taken.append((left, top, left + width, top + height))
        draw.rounded_rectangle(taken[-1], radius=pad, fill=colour)
        dark = np.dot(colour, (0.299, 0.587, 0.114)) > 140
        ink = (20, 20, 20) if dark else (255, 255, 255)
        draw.text((left + pad, top + height / 2), shown, fill=ink, font=font, anchor="lm")
    return np.array(picture)


def _font(text: str, *, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, the same everywhere; it has ASCII only, so for the rest the system's."""
    if not text.isascii():
        with suppress(OSError):
            return ImageFont.truetype("DejaVuSans.ttf", size)
    return ImageFont.load_default(size)


def _free_row(
    left: int,
    top: int,
    *,
    width: int,
    height: int,
    bottom: int,
    taken: Iterable[tuple[int, int, int, int]],
) -> int:
    """The first top at or below `top` where a plate covers no other, or `top` if there is none."""
    row = top
    for x0, y0, x1, y1 in sorted(taken, key=lambda box: box[1]):
        if left < x1 and x0 < left + width and row < y1 and y0 < row + height:
            row = y1 + 1
    return row if row + height <= bottom else top


def _middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The point (x, y) of a mask that is farthest from its edge: always inside it."""
    step = max(1, max(mask.shape) // 512)  # A caption needs no exact place.
    plane = np.pad(mask[::step, ::step].astype(np.uint8), 1)
    distance = cv2.distanceTransform(plane, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float((x - 1) * step), float((y - 1) * step)
