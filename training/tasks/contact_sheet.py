"""Images of a validation: each prompt, the teacher's mask for it, the student's beside it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from samclip_sdk.results.overlay import draw_overlay

_CELL_PX = 192
_BOX_CORNER = 2  # label of a box's top-left corner; the bottom-right one's is the next
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def draw_contact_sheet(
    images: Tensor, coords: Tensor, labels: Tensor, *, masks: Sequence[Tensor]
) -> np.ndarray:
    """Draws a row for each prompt: the image with the prompt, then a column for each of `masks`.

    Args:
        images: uint8 [N,3,S,S], RGB.
        coords: float [N,P,2], pixels of the image.
        labels: int [N,P], SAM's.
        masks: logits [N,h,w] each.

    Returns:
        uint8 RGB, N cells high and 1 + len(masks) wide.
    """
    rows = []
    for index, image in enumerate(images.cpu()):
        scale = _CELL_PX / image.shape[-1]
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        resized = np.asarray(
            cv2.resize(pixels, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_AREA), np.uint8
        )
        prompts = coords[index].float().cpu().numpy() * scale
        cells = [_draw_prompts(resized, prompts, labels[index].cpu().numpy())]
        for logits in masks:
            size = (_CELL_PX, _CELL_PX)
            mask = cv2.resize(logits[index].float().cpu().numpy(), size) > 0
            cells.append(draw_overlay(resized, masks=[mask]))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def _draw_prompts(image: np.ndarray, coords: np.ndarray, labels: np.ndarray) -> np.ndarray:
    canvas: np.ndarray = image.copy()
    for point in np.rint(coords[labels == 1]).astype(int).tolist():
        cv2.circle(canvas, point, 5, _BLACK, -1, cv2.LINE_AA)
        cv2.circle(canvas, point, 3, _WHITE, -1, cv2.LINE_AA)
    for corner in np.flatnonzero(labels == _BOX_CORNER):
        low, high = np.rint(coords[corner : corner + 2]).astype(int).tolist()
        cv2.rectangle(canvas, low, high, _BLACK, 3)
        cv2.rectangle(canvas, low, high, _WHITE, 1)
    return canvas
