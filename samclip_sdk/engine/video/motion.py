"""The optical flow from one frame to the next, and maps that are moved by it.

Everything is in the model frame, at a small size: OpenCV's dense inverse search takes a millisecond
there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Grey = NDArray[np.uint8]

SIDE = 192
"""The side of the small images that are compared, in pixels."""

CUT = 24.0
"""The mean difference of pixels, 0..255, above which there is a cut between two frames. One frame
is first moved to the other."""


@dataclass(frozen=True)
class Motion:
    """The place of each pixel of a frame in an earlier frame.

    Attributes:
        back: float32 [SIDE,SIDE,2], (x, y), from each pixel to its earlier place, in small pixels.
        cut: whether there is a cut between the two frames.
    """

    back: Array
    cut: bool

    def after(self, earlier: Motion) -> Motion:
        """Joins this motion with the motion before it."""
        return Motion(self.back + _take(earlier.back, self.back), self.cut or earlier.cut)

    def move(self, maps: Array) -> Array:
        """Moves maps of the earlier frame to this one; new areas repeat the values beside them.

        Args:
            maps: [N,s,s] in the model frame.
        """
        side = maps.shape[-1]
        back = cv2.resize(self.back, (side, side), interpolation=cv2.INTER_AREA) * (side / SIDE)
        return np.stack([_take(each, back) for each in maps]) if len(maps) else maps

    def speed(self, mask: NDArray[np.bool_]) -> Array:
        """The mean motion inside a mask [s,s].

        Returns:
            float32 [2], (x, y) in sides of the model's input; zeros for an empty mask.
        """
        inside = cv2.resize(mask.view(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
        if not inside.any():
            return np.zeros(2, dtype=np.float32)
        moved: Array = -self.back[inside].mean(axis=0) / SIDE
        return moved


def small_grey(square: NDArray[np.uint8]) -> Grey:
    """Makes the small grey image for motion, uint8 [SIDE,SIDE], from a prepared one [1,3,S,S]."""
    grey = cv2.cvtColor(square[0].transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)
    small: Grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def find_motion(now: Grey, before: Grey) -> Motion:
    """Finds where each pixel of a frame was in the frame before it.

    Args:
        now: the frame, from `small_grey`.
        before: the frame before it, from `small_grey`.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    back = search.calc(now, before, None)  # type: ignore[call-overload]  # no first guess
    moved = _take(before.astype(np.float32), back)
    return Motion(back, float(np.abs(moved - now).mean()) > CUT)


def _take(image: Array, back: Array) -> Array:
    """Samples an image [s,s] or [s,s,2] at the offsets `back` [s,s,2] from each pixel."""
    side = back.shape[0]
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    return cv2.remap(  # type: ignore[return-value]  # cv2 types any array
        image,
        (columns + back[..., 0]).astype(np.float32),
        (rows + back[..., 1]).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
