"""Image geometry: the model's square input, and coordinates to it and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

_MANY_VALUES = 12_000_000  # of an image; with fewer, threads save less than it costs to split it


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the model's input: at the top left, scaled to fit.

    Attributes:
        height_px: the height of the upright original.
        width_px: the width of the upright original.
        resolution: S, the side of the model's input.
        resized_height_px: rows of the input that the image fills.
        resized_width_px: columns of the input that the image fills.
    """

    height_px: int
    width_px: int
    resolution: int
    resized_height_px: int
    resized_width_px: int

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.resized_height_px, self.resized_width_px) < 1:
            raise ValueError(f"a size is below 1 pixel: {self}")
        if max(self.resized_height_px, self.resized_width_px) > self.resolution:
            raise ValueError(f"the image leaves the model's input: {self}")

    @classmethod
    def fit(cls, height_px: int, width_px: int, *, resolution: int) -> Frame:
        """Scales the longer side to `resolution`, as SAM does; the shorter is 1 pixel at least."""
        scale = resolution * 1.0 / max(height_px, width_px)
        return cls(
            height_px=height_px,
            width_px=width_px,
            resolution=resolution,
            resized_height_px=max(1, int(height_px * scale + 0.5)),
            resized_width_px=max(1, int(width_px * scale + 0.5)),
        )

    def to_model(self, coords: ArrayLike) -> NDArray[np.float64]:
        """Converts coordinates (x, y), float [..., 2], from image pixels to model pixels."""
        return np.asarray(coords, dtype=np.float64) * self._scale()

    def to_image(self, coords: ArrayLike) -> NDArray[np.float64]:
        """Converts coordinates (x, y), float [..., 2], from model pixels to image pixels."""
        return np.asarray(coords, dtype=np.float64) / self._scale()

    def extent(self) -> NDArray[np.float32]:
        """The rows and columns of the model's input that the image covers, float32 [2]."""
        return np.array([self.resized_height_px, self.resized_width_px], dtype=np.float32)

    def token_mask(self, *, patch_size: int) -> NDArray[np.float32]:
        """Marks the patches that hold any image pixel, not padding only.

        Args:
            patch_size: the side of a patch; it must divide the resolution.

        Returns:
            float32 [1,g,g] of ones and zeros, g = resolution / patch_size.
        """
        if self.resolution % patch_size:
            raise ValueError(f"resolution {self.resolution} is not a multiple of {patch_size}")
        grid = self.resolution // patch_size
        mask = np.zeros((1, grid, grid), dtype=np.float32)
        rows, columns = covered_cells(self, side=grid)
        mask[:, :rows, :columns] = 1
        return mask

    def _scale(self) -> NDArray[np.float64]:
        """The factors of x and y. They differ by the rounding of the shorter side."""
        return np.array(
            [self.resized_width_px / self.width_px, self.resized_height_px / self.height_px]
        )


def letterbox(
    image: NDArray[np.uint8], *, resolution: int, pad_colour: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], Frame]:
    """Fits the whole image into a square, at the top left, and fills the rest.

    Args:
        image: uint8 [H,W,3], RGB.
        resolution: S.
        pad_colour: RGB of the padding, 0..255.

    Returns:
        uint8 [1,3,S,S], bilinear and antialiased as in SAM, and the frame.
    """
    frame = Frame.fit(*image.shape[:2], resolution=resolution)
    rows, columns = frame.resized_height_px, frame.resized_width_px
    square = np.empty((1, 3, resolution, resolution), dtype=np.uint8)
    square[0] = np.array(pad_colour, dtype=np.uint8)[:, None, None]
    square[0, :, :rows, :columns] = _resized(image, (columns, rows), Image.Resampling.BILINEAR)
    return square, frame


def center_crop(image: NDArray[np.uint8], *, resolution: int) -> NDArray[np.uint8]:
    """CLIP's preprocessing: the shorter side to S, bicubic and antialiased, then the centre square.

    Args:
        image: uint8 [H,W,3], RGB.
        resolution: S.

    Returns:
        uint8 [1,3,S,S].
    """
    height, width = image.shape[:2]
    short = min(height, width)
    edges = []
    for side in (width, height):
        resized = int(resolution * side / short)
        offset = round((resized - resolution) / 2)
        edges.append((offset * side / resized, min(side, (offset + resolution) * side / resized)))
    (left, right), (top, bottom) = edges
    # Only the square is computed: a 20,000 x 10 image would first grow to hundreds of megabytes.
    # The kernel and the places are those of resize-and-crop. But Pillow may swap the two passes, so
    # a few values differ at hard edges, where bicubic overshoots and each pass clips.
    box = (left, top, right, bottom)
    return _resized(image, (resolution, resolution), Image.Resampling.BICUBIC, box=box)[None]


def _resized(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    resampling: Image.Resampling,
    *,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Resizes uint8 [H,W,3] to uint8 [3,h,w]; `size` is (w, h).

    Pillow computes in one thread. A colour in each of three threads gives the same pixels, for a
    large image sooner.
    """
    if image.size < _MANY_VALUES:
        resized = np.asarray(Image.fromarray(image).resize(size, resampling, box=box))
        return np.ascontiguousarray(np.moveaxis(resized, -1, 0))

    def colour(index: int) -> NDArray[np.uint8]:
        plane = Image.fromarray(np.ascontiguousarray(image[..., index]))
        return np.asarray(plane.resize(size, resampling, box=box))

    with ThreadPoolExecutor(max_workers=3, thread_name_prefix="samclip-resize") as threads:
        return np.stack(list(threads.map(colour, range(3))))


def covered_cells(frame: Frame, *, side: int) -> tuple[int, int]:
    """The rows and columns that hold any image pixel, in a side x side map of the model's input.

    The image is at the top left.
    """
    rows = -(-frame.resized_height_px * side // frame.resolution)
    columns = -(-frame.resized_width_px * side // frame.resolution)
    return rows, columns
