"""A picture that is answered in views: the whole of it, and its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.options import Options
from samclip_sdk.engine.tiled_labels import presence_in_tile, threshold_in_tile
from samclip_sdk.picture.tiles import Window
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """A picture on its way through the backbone, and the tiles that go after it.

    Attributes:
        whole: the picture.
        pixels: uint8 [H,W,3] of the picture that tiles are cut from; none without tiles.
        tiles: where they lie in it.
    """

    whole: PreparedImage | ImageEmbedding
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    tiles: Sequence[Window] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.whole.frame.height_px, self.whole.frame.width_px

    def options_in(self, view: Window, options: Options) -> Options:
        """The same for a view: in a tile, a label must be surer of itself."""
        if view.size == self.size:
            return options
        threshold = threshold_in_tile(options.presence_threshold, tiles=len(self.tiles))
        return replace(options, presence_threshold=threshold)

    def presence_in(self, view: Window, presence: Array) -> Array:
        """What the presence of labels [K] in a view is worth in the picture."""
        if view.size == self.size:
            return presence
        return presence_in_tile(presence, tiles=len(self.tiles))
