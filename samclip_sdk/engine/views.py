"""Views of an image: the whole image and its tiles, each scaled to the model's input.

Each of n tiles is one more chance of a false positive. So the odds of a label's presence must be
higher in a tile than in the whole image, by the square root of n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.errors import ImageError
from samclip_sdk.image.loading import load_image, load_with_origin
from samclip_sdk.image.tiles import Tiling, Window
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Views:
    """An image on its way through the backbone, and the tiles that follow it.

    Attributes:
        whole: the pass over the whole image.
        pixels: uint8 [H,W,3], the pixels that tiles are cut from; empty without tiles.
        tiles: where the tiles lie in the image.
    """

    whole: Pass
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    tiles: Sequence[Window] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.whole.size

    def passes(self) -> Iterator[tuple[Window, Pass]]:
        """Yields the whole image, then each tile; one tile's embedding is in memory at a time."""
        height, width = self.size
        yield Window(slice(0, height), slice(0, width)), self.whole
        for tile in self.tiles:
            yield tile, self.whole.of_pixels(tile.of(self.pixels), origin=None)

    def options_in(self, view: Window, options: TextToMaskOptions) -> TextToMaskOptions:
        """The options for a view: a tile has a higher presence threshold."""
        if view.size == self.size:
            return options
        threshold = threshold_in_tile(options.presence_threshold, tiles=len(self.tiles))
        return replace(options, presence_threshold=threshold)

    def presence_in(self, view: Window, presence: Array) -> Array:
        """Converts the presence of labels [K] in a view to the whole image's scale."""
        if view.size == self.size:
            return presence
        return presence_in_tile(presence, tiles=len(self.tiles))


def threshold_in_tile(threshold: float | Array, *, tiles: int) -> float | Array:
    """The presence, 0..1, that a label must have in one of n tiles to be in the image.

    Args:
        threshold: 0..1, the threshold for the whole image; or [K], one for each label.
        tiles: n.
    """
    factor = math.sqrt(tiles)
    return factor * threshold / (factor * threshold + (1 - threshold))


def presence_in_tile(presence: Array, *, tiles: int) -> Array:
    """Converts the presence of labels [K] in one of n tiles to the whole image's scale.

    This is the inverse of `threshold_in_tile`: float32 [K], to be compared with the threshold for
    the whole image.
    """
    worth = presence / (presence + math.sqrt(tiles) * (1 - presence))
    return np.asarray(worth, dtype=np.float32)


def open_views(one: Pass, tiling: Tiling | None) -> Views:
    """Prepares an image, and reads the pixels for its tiles if there are any.

    Raises:
        PromptError: the tiles do not fit the image.
        ImageError: tiles of a prepared image or an embedding are asked, but its source image is not
            known, cannot be read any more, or has another size now.
    """
    if tiling is None:
        return Views(one)
    if not isinstance(one.image, (PreparedImage, ImageEmbedding)):
        with one.step("load_image"):
            pixels, origin = load_with_origin(one.image, bgr=one.engine.bgr)
        tiles = tiling.windows(*pixels.shape[:2])
        return Views(one.of_pixels(pixels, origin=origin), pixels, tiles)
    height, width = one.size
    tiles = tiling.windows(height, width)
    if one.prepared.origin is None:
        raise ImageError(
            "tiles are cut from the image, which this embedding or prepared image was saved "
            "without: give the image itself"
        )
    with one.step("load_image"):
        pixels = load_image(one.prepared.origin)
    now = pixels.shape[:2]
    if now != (height, width):
        raise ImageError(
            f"the image has {now[1]} x {now[0]} pixels now, and had {width} x {height}: encode "
            "it again"
        )
    return Views(one, pixels, tiles)
