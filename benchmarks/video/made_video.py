"""A made video whose truth is known: cut-outs of photographs that move, and hide each other.

In front of an image through which the camera pans, two dogs walk behind a pillar, towards each
other, and come out at its other side; one is the mirror image of the other. A board falls past a
sitting cat. Each of the three is wholly hidden for a while. Each frame has noise of its own. All
of it is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.loading import load_image

FRAMES = 120
HEIGHT_PX, WIDTH_PX = 360, 600
LABELS = ("dog", "cat", "boat")
"""What is looked for; there is no boat."""

NOISE = 4.0
"""Standard deviation of a pixel's noise, of 255."""

_IMAGES = Path(__file__).parents[2] / "examples" / "images"
_OUTLINES = {
    "dog": (
        (260, 32), (213, 16), (202, 30), (157, 38), (146, 49), (141, 77), (145, 116), (113, 105),
        (92, 105), (56, 130), (40, 161), (39, 190), (15, 279), (7, 319), (30, 327), (49, 241),
        (74, 205), (90, 200), (98, 227), (84, 252), (105, 299), (123, 290), (110, 270), (113, 251),
        (125, 234), (143, 242), (152, 300), (172, 357), (173, 383), (205, 381), (196, 336),
        (187, 327), (186, 257), (210, 253), (214, 327), (226, 356), (243, 355), (243, 341),
        (242, 269), (252, 228), (264, 207), (267, 182), (258, 133), (267, 53),
    ),
    "garden": (
        (262, 102), (250, 97), (226, 114), (207, 113), (190, 100), (183, 102), (188, 148),
        (181, 198), (141, 227), (78, 243), (73, 252), (76, 262), (98, 264), (109, 278), (132, 296),
        (143, 294), (146, 273), (159, 272), (184, 293), (177, 296), (179, 302), (253, 297),
        (301, 279), (312, 254), (306, 210), (295, 185), (260, 158),
    ),
}  # fmt: skip
"""(x, y) in the pixels of the photographs: the animals in them."""


Cutout = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A part of a photograph: pixels [h,w,3], RGB, and their mask [h,w]."""


class Actor(NamedTuple):
    """What moves: from one place of its centre, (x, y) in pixels of the frame, to another.

    `name` tells it from the others, `label` what it is; "" for what only hides others. `first` and
    `last` are the frames in which it leaves and arrives.
    """

    name: str
    label: str
    cutout: Cutout
    start: tuple[float, float]
    end: tuple[float, float]
    first: int = 0
    last: int = FRAMES - 1


class MadeFrame(NamedTuple):
    """A frame, uint8 RGB [H,W,3], and what can be seen of each actor, by name, bool [H,W]."""

    pixels: NDArray[np.uint8]
    visible: dict[str, NDArray[np.bool_]]


def actors() -> tuple[Actor, ...]:
    """The cast, from the back to the front."""
    dog = cut_out("dog", width_px=120)
    other_dog = (dog[0][:, ::-1], dog[1][:, ::-1])
    return (
        Actor("second dog", "dog", other_dog, (420, 90), (70, 100)),
        Actor("cat", "cat", cut_out("garden", width_px=150), (515, 285), (500, 285)),
        Actor("dog", "dog", dog, (70, 265), (365, 255)),
        Actor("pillar", "", _bricks(HEIGHT_PX, 140), (225, 180), (225, 180)),
        Actor("board", "", _bricks(180, 170), (505, -90), (505, 460), first=20, last=100),
    )


def make_frames(cast: tuple[Actor, ...]) -> Iterator[MadeFrame]:
    """Draws the video, a frame at a time."""
    scenery = load_image(_IMAGES / "temple.jpg")
    scenery = cv2.resize(scenery, None, fx=1.05, fy=1.05, interpolation=cv2.INTER_AREA)
    generator = np.random.default_rng(0)
    for index in range(FRAMES):
        left = round(index * (scenery.shape[1] - WIDTH_PX) / (FRAMES - 1))
        pixels = scenery[:HEIGHT_PX, left : left + WIDTH_PX].copy()
        visible: dict[str, NDArray[np.bool_]] = {}
        for actor in cast:
            drawn = _draw(pixels, actor, index)
            for mask in visible.values():
                mask &= ~drawn
            visible[actor.name] = drawn
        noise = generator.normal(scale=NOISE, size=pixels.shape)
        yield MadeFrame(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8), visible)


def cut_out(name: str, *, width_px: int) -> Cutout:
    """The animal of an example image, so many pixels wide."""
    pixels = load_image(_IMAGES / f"{name}.jpg")
    outline = np.array(_OUTLINES[name], dtype=np.int32)
    mask = cv2.fillPoly(np.zeros(pixels.shape[:2], dtype=np.uint8), [outline], (1,))
    x, y, width, height = cv2.boundingRect(outline)
    size = (width_px, round(height * width_px / width))
    part = (slice(y, y + height), slice(x, x + width))
    return (
        cv2.resize(pixels[part], size, interpolation=cv2.INTER_AREA).astype(np.uint8),
        cv2.resize(mask[part], size, interpolation=cv2.INTER_NEAREST).astype(bool),
    )


def _bricks(height_px: int, width_px: int) -> Cutout:
    """A rectangle of bricks."""
    y, x = np.mgrid[:height_px, :width_px]
    course = y // 18
    joint = (y % 18 < 2) | ((x + 20 * (course % 2)) % 40 < 2)
    shade = 12 * np.sin(2.1 * course + 3.7 * ((x + 20 * (course % 2)) // 40))
    brick = np.array([150, 92, 74]) + shade[..., None]
    pixels = np.where(joint[..., None], 190, brick).astype(np.uint8)
    return pixels, np.ones(pixels.shape[:2], dtype=bool)


def _draw(pixels: NDArray[np.uint8], actor: Actor, index: int) -> NDArray[np.bool_]:
    """Puts an actor into a frame, and tells which of the frame's pixels [H,W] it has."""
    own, mask = actor.cutout
    height, width = mask.shape
    moved = np.clip((index - actor.first) / (actor.last - actor.first), 0, 1)
    x, y = np.array(actor.start) + moved * (np.array(actor.end) - actor.start)
    move = np.array([[1, 0, x - width / 2], [0, 1, y - height / 2]], dtype=np.float32)
    size = (pixels.shape[1], pixels.shape[0])
    placed = cv2.warpAffine(own, move, size, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask.astype(np.float32), move, size)[..., None]
    pixels[:] = np.rint(share * placed + (1 - share) * pixels).astype(np.uint8)
    drawn: NDArray[np.bool_] = share[..., 0] > 0.5
    return drawn
