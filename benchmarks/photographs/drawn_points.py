"""Text to mask as the paper has it: points drawn at random, one prompt a label (section 4.4)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.engine.label_points import cell_points
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import sigmoid
from samclip_sdk.picture.frame import Frame, covered_cells

_POINTS = 3
_THRESHOLD = 0.5
_NO_POINT = -1


def by_drawn_points(
    model: SamClip, image: ImageEmbedding, labels: Sequence[str], *, seed: int
) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """The masks bool [H,W] of K labels, whatever their presence, and presence float32 [K].

    A label's score map is the mask prompt, with three of its cells as points; what the decoder
    answers is the mask. A draw depends on the seed and the label alone.
    """
    found = model.segment_text(image, labels, threshold=1.0, refine=False).asked
    frame, side = image.frame, 4 * image.image_embeddings.shape[-1]
    drawn = [
        _draw(score_map, frame=frame, rng=np.random.default_rng([seed, zlib.crc32(label.encode())]))
        for label, score_map in zip(labels, found.score_maps, strict=True)
    ]
    points = np.zeros((len(labels), _POINTS, 2), np.float32)
    kinds = np.full(points.shape[:2], _NO_POINT)
    for label, own in enumerate(drawn):
        points[label, : len(own)], kinds[label, : len(own)] = own, 1
    maps = [mask_prompt(each, frame=frame, side=side) for each in found.score_maps]
    answer = model.segment(
        image,
        points=points,
        point_labels=kinds,
        mask_input=np.stack(maps),
        multimask_output=False,
    )
    return answer.masks, found.presence


def _draw(score_map: np.ndarray, *, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Points [n,2] in image pixels, of cells that score above a half, by their scores.

    The best cell alone where none does.
    """
    rows, columns = covered_cells(frame, side=len(score_map))
    scores = sigmoid(score_map[:rows, :columns].ravel()).astype(np.float64)
    cells = np.flatnonzero(scores > _THRESHOLD)
    if len(cells):
        share = scores[cells] / scores[cells].sum()
        cells = rng.choice(cells, size=min(_POINTS, len(cells)), replace=False, p=share)
    else:
        cells = np.array([scores.argmax()])
    y, x = np.divmod(cells, columns)
    return frame.to_image(cell_points(y, x, frame=frame, side=len(score_map)))
