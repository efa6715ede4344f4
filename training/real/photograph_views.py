"""Views of a photograph: a crop or all of it, perhaps flipped, letterboxed, recoloured.

Whatever is known of an image in its own pixels, masks and boxes, goes the same way as its colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import load_image, open_image
from training.batches import PATCH_PX
from training.real.crops import random_crop_box
from training.real.records import BrokenRecord

SCALE = (0.4, 1.0)
"""Share of the image's area that a crop holds; its sides are 3 to 4 at most, as all crops are."""

_WHOLE = 0.25  # of the views are of the whole image, as the SDK sees it
_FLIPPED = 0.5
_BRIGHTNESS, _CONTRAST, _SATURATION, _TINT = 0.2, 0.2, 0.3, 0.06  # the most that each changes by
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class View:
    """A part of an image in the model's input.

    Attributes:
        box: XYXY in whole pixels of the image.
        flipped: whether left and right change places.
        frame: where the part lies in the input.
    """

    box: tuple[int, int, int, int]
    flipped: bool
    frame: Frame

    @property
    def scale(self) -> float:
        """Pixels of the input for one of the image, along its longer side."""
        return max(self.frame.resized_height_px, self.frame.resized_width_px) / max(
            self.frame.height_px, self.frame.width_px
        )

    def token_mask(self) -> np.ndarray:
        """float32 [g,g], 1 where a patch holds any of the image."""
        mask: np.ndarray = self.frame.token_mask(patch_size=PATCH_PX)[0]
        return mask

    def visible_px(self, box: np.ndarray) -> float:
        """The area of a box, XYXY in the image's pixels, that is in sight: in input pixels."""
        low = np.maximum(box[:2], self.box[:2])
        high = np.minimum(box[2:], self.box[2:])
        return float(np.prod(np.maximum(high - low, 0))) * self.scale**2

    def share(self, box: np.ndarray) -> float:
        """How much of the area of a box, XYXY in the image's pixels, is in sight: 0 to 1."""
        whole = float(np.prod(box[2:] - box[:2])) * self.scale**2
        return self.visible_px(box) / whole if whole else 0.0

    def box_in_sight(self, box: np.ndarray) -> np.ndarray:
        """What is in sight of a box, XYXY in the image's pixels: float32 [4], in the input's."""
        part = np.array(self.box, np.float32).reshape(2, 2)
        corners = self.frame.to_model(box.reshape(2, 2).clip(part[0], part[1]) - part[0])
        if self.flipped:
            corners[:, 0] = self.frame.resized_width_px - corners[::-1, 0]
        return corners.reshape(4).astype(np.float32)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask bool [H,W] of the image in the input: bool [S,S], nothing in the padding.

        Each pixel of the input takes the value under its middle.
        """
        left, top, right, bottom = self.box
        rows, columns = self._centres()
        out = np.zeros((self.frame.resolution, self.frame.resolution), bool)
        part = mask[top:bottom, left:right][rows][:, columns]
        out[: len(rows), : len(columns)] = part
        return out

    def boxed(self, box: np.ndarray) -> np.ndarray:
        """A box, XYXY in the image's pixels, as the mask bool [S,S] of what is in sight of it."""
        left, top = self.box[:2]
        rows, columns = self._centres()
        down = (rows + top + 0.5 > box[1]) & (rows + top + 0.5 < box[3])
        along = (columns + left + 0.5 > box[0]) & (columns + left + 0.5 < box[2])
        out = np.zeros((self.frame.resolution, self.frame.resolution), bool)
        out[: len(rows), : len(columns)] = down[:, None] & along
        return out

    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        """The row and the column of the part that lies under each row and column of the input."""
        frame = self.frame
        centres = np.arange(frame.resolution)[:, None].repeat(2, axis=1) + 0.5
        columns, rows = frame.to_image(centres).astype(np.int64).T
        rows, columns = rows[: frame.resized_height_px], columns[: frame.resized_width_px]
        return rows, columns[::-1] if self.flipped else columns


def draw_view(height_px: int, width_px: int, rng: np.random.Generator, *, resolution: int) -> View:
    """Draws a view of an image: in one case of four of all of it, else of a crop (`SCALE`)."""
    box = (0, 0, width_px, height_px)
    if rng.random() >= _WHOLE:
        box = random_crop_box(height_px, width_px, rng=rng, scale=SCALE)
    return part_view(box, resolution=resolution, flipped=bool(rng.random() < _FLIPPED))


def whole_view(height_px: int, width_px: int, *, resolution: int) -> View:
    """The view of an image that the SDK has: all of it."""
    return part_view((0, 0, width_px, height_px), resolution=resolution)


def render(path: Path, view: View, *, size: tuple[int, int]) -> np.ndarray:
    """Decodes an image as far as a view needs it: uint8 RGB [S,S,3], padded with the SDK's colour.

    Raises:
        BrokenRecord: it cannot be read, or its height and width are another `size`.
    """
    height_px, width_px = size
    image = _decode(path, height_px=height_px, width_px=width_px, scale=view.scale)
    across, down = image.width / width_px, image.height / height_px
    left, top, right, bottom = view.box
    frame = view.frame
    resized = image.resize(
        (frame.resized_width_px, frame.resized_height_px),
        Image.Resampling.BILINEAR,
        box=(left * across, top * down, right * across, bottom * down),
    )
    square = np.empty((frame.resolution, frame.resolution, 3), np.uint8)
    square[:] = PAD_COLOUR
    pixels = np.asarray(resized)
    square[: resized.height, : resized.width] = pixels[:, ::-1] if view.flipped else pixels
    return square


def recolour(image: np.ndarray, view: View, rng: np.random.Generator) -> None:
    """Changes brightness, contrast, saturation and tint of a view [S,S,3] a little, in place."""
    bright, contrast, saturation, *tint = rng.uniform(-1, 1, 6).tolist()
    gain = (1 + _CONTRAST * contrast) * (1 + _TINT * np.array(tint))
    keep = 1 + _SATURATION * saturation
    matrix = np.zeros((3, 4), np.float32)
    matrix[:, :3] = (np.eye(3) * keep + (1 - keep) / 3) * gain[:, None]
    matrix[:, 3] = 128 * (1 + _BRIGHTNESS * bright - gain)  # contrast is about the middle grey
    seen = image[: view.frame.resized_height_px, : view.frame.resized_width_px]
    seen[:] = cv2.transform(seen, matrix)


def part_view(box: tuple[int, int, int, int], *, resolution: int, flipped: bool = False) -> View:
    """The view of a part of an image, XYXY in whole pixels of it."""
    left, top, right, bottom = box
    return View(box, flipped, Frame.fit(bottom - top, right - left, resolution=resolution))


def _decode(path: Path, *, height_px: int, width_px: int, scale: float) -> Image.Image:
    """The image, RGB and upright; a JPEG file at a fraction of its size if that is enough."""
    try:
        with open_image(path) as image:
            plain = image.mode in ("RGB", "L")
            if plain and image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
                found = image.size
                enough = math.ceil(width_px * scale), math.ceil(height_px * scale)
                image.draft(None, enough)
                upright: Image.Image = image.convert("RGB")
            else:
                upright = Image.fromarray(load_image(path))
                found = upright.size
    except FileNotFoundError as error:
        raise BrokenRecord("record", str(error)) from error
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data.
        raise BrokenRecord("image", f"{path.name}: {error}") from error
    if found != (width_px, height_px):
        raise BrokenRecord(
            "image",
            f"{path.name} has {found[0]} x {found[1]} pixels, not {width_px} x {height_px}",
        )
    return upright
