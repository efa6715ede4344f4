"""Draws masks and captions over an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.image.packed_masks import PackedMask, PackedMasks

if TYPE_CHECKING:
    from PIL import ImageFont

COLOURS: tuple[tuple[int, int, int], ...] = (
    (255, 77, 77), (51, 145, 255), (255, 200, 33), (56, 193, 114), (186, 104, 240),
    (255, 138, 36), (0, 199, 209), (255, 105, 180), (150, 210, 50), (110, 90, 250),
    (190, 120, 70), (0, 150, 136), (214, 40, 140), (140, 170, 220), (128, 128, 0),
    (235, 150, 140),
)  # fmt: skip
"""RGB colours, neighbours far apart in hue; after the last one, the first is used again."""

_FILL = 0.45
_MAX_CAPTION = 40


def draw_overlay(
    image: NDArray[np.uint8],
    *,
    masks: PackedMasks | Iterable[NDArray[np.bool_]],
    captions: Sequence[str] | None = None,
    colours: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Draws masks over an image: a tint, an outline, and a caption in the middle of each.

    Large masks are drawn first, so that small ones inside them stay visible. Empty masks and their
    captions are left out.

    Args:
        image: uint8 [H,W,3], RGB.
        masks: masks bool [H,W].
        captions: one for each mask.
        colours: each mask's index in `COLOURS`; by default 0, 1, 2, ...

    Returns:
        uint8 [H,W,3], a new image.
    """
    canvas = image.copy()
    line = max(1, round(max(image.shape[:2]) / 450))
    tags = []
    planes = masks.packed if isinstance(masks, PackedMasks) else [*map(PackedMask.pack, masks)]
    for index in sorted(range(len(planes)), key=lambda index: -planes[index].area):
        mask = planes[index]
        if mask.empty:
            continue
        colour = COLOURS[(index if colours is None else colours[index]) % len(COLOURS)]
        region, inside, (x0, y0) = canvas[mask.rows, mask.columns], mask.part(), mask.start
        tint = region[inside] * (1 - _FILL) + np.array(colour, dtype=np.float32) * _FILL
        region[inside] = np.rint(tint).astype(np.uint8)
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0)
        )
        cv2.drawContours(canvas, contours, -1, (255, 255, 255), 3 * line, cv2.LINE_AA)
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
    """Writes captions: (text, centre (x, y) in image pixels, RGB of the plate behind the text).

    Captions stay inside the image, and one that would cover another moves below it.

    Returns:
        uint8 [H,W,3], a new image.
    """
    from PIL import ImageDraw  # a program that draws nothing does without fonts

    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    size = max(11, round(max(canvas.size) / 48))
    pad = size // 4
    taken: list[tuple[int, int, int, int]] = []
    for text, (x, y), colour in captions:
        font = _font(text, size=size)
        shown = " ".join(text.split())
        shown = shown if len(shown) <= _MAX_CAPTION else shown[: _MAX_CAPTION - 1] + "…"
        width, height = round(draw.textlength(shown, font=font)) + 2 * pad, size + 2 * pad
        left = max(0, round(min(x - width / 2, canvas.width - width)))
        top = max(0, round(min(y - height / 2, canvas.height - height)))
        top = _free_row(left, top, width=width, height=height, bottom=canvas.height, taken=taken)
        taken.append((left, top, left + width, top + height))
        draw.rounded_rectangle(taken[-1], radius=pad, fill=colour)
        dark = np.dot(colour, (0.299, 0.587, 0.114)) > 140
        ink = (20, 20, 20) if dark else (255, 255, 255)
        draw.text((left + pad, top + height / 2), shown, fill=ink, font=font, anchor="lm")
    return np.array(canvas)


def _font(text: str, *, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, the same everywhere. It has ASCII only; other texts need the system's."""
    from PIL import ImageFont

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
    """The first row from `top` down where a plate covers no other, or `top` if there is none."""
    row = top
    for x0, y0, x1, y1 in sorted(taken, key=lambda box: box[1]):
        if left < x1 and x0 < left + width and row < y1 and y0 < row + height:
            row = y1 + 2
    return row if row + height <= bottom else top


def _middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The point (x, y) of a mask that is farthest from its edge; it is always inside the mask."""
    step = max(1, max(mask.shape) // 512)  # A caption needs no exact place.
    plane = np.pad(mask[::step, ::step].astype(np.uint8), 1)
    distance = cv2.distanceTransform(plane, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float((x - 1) * step), float((y - 1) * step)
