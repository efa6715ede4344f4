"""What packages in other languages must answer about objects, as this package answers it.

    python -m tests.object_cases

writes `examples/object_cases.json`, which the tests of the packages read. Logits are sums of blobs,
which any language computes alike: at the pixel (x, y), the greatest of
`peak * (1 - ((x - left) / across)^2 - ((y - top) / down)^2)`, -12 at least.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import UNCALIBRATED, ObjectScore
from samclip_sdk.engine.instances import distinct_objects
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.object_candidates import chosen_masks, find_candidates
from samclip_sdk.image.frame import Frame

CASES = Path(__file__).resolve().parents[1] / "examples" / "object_cases.json"

RESOLUTION, SIDE, GRID = 128, 32, 8
LOWEST = -12.0
CALIBRATION = UNCALIBRATED.model_copy(
    update={
        "scale": 8.0,
        "bias": 0.9,
        "objects": ObjectScore(
            label_score=0.6, predicted_iou=3.4, stability_score=0.6, bias=-2.7, min_score=0.75
        ),
    }
)

Blob = list[float]
"""left, top, across, down, peak."""

Drawn = tuple[list[Blob], float]
"""A mask's blobs and its predicted IoU."""

LEFT: Blob = [8, 10, 5, 6, 6]
RIGHT: Blob = [23, 11, 5, 5, 5]
SPECK: Blob = [15, 20, 1.2, 1.2, 4]
PADDED: Blob = [10, 20.5, 6, 5.45, 6]
RAGGED: list[Blob] = [[11, 11, 5, 8, 6], [8, 11, 3, 5, 6], [19, 13, 5, 8, 6]]
RING: list[Blob] = [[x, y, 5.9, 5.9, 6] for x, y in ((10, 16), (22, 16), (16, 10), (16, 22))]

CASES_ASKED: list[tuple[str, tuple[int, int], float, list[Blob], list[list[Drawn]]]] = [
    ("one part is the label's own mask", (96, 128), 0.0, [LEFT], [[([LEFT], 0.8)]]),
    (
        "two parts are two objects; a speck is none",
        (96, 128),
        0.0,
        [LEFT, RIGHT, SPECK],
        [
            [([LEFT], 0.7), ([[8, 8, 3, 3, 6]], 0.9), ([LEFT, SPECK], 0.75), ([LEFT, RIGHT], 0.8)],
            [([RIGHT], 0.5), ([RIGHT], 0.85), ([[23, 11, 2, 2, 5]], 0.9), ([LEFT, RIGHT], 0.8)],
        ],
    ),
    (
        "one that is the same as a better one, and one inside it",
        (120, 90),
        0.5,
        [[6, 6, 4, 4, 6], [16, 6, 4, 4, 6], [8, 20, 5, 5, 6]],
        [
            [([[8, 20, 5, 5, 6]], 0.9)] * 4,
            [([[8, 20, 5, 6, 6]], 0.8)] * 4,
            [([[8, 19, 2, 2, 6]], 0.7)] * 4,
        ],
    ),
    (
        "a mask in the padding",
        (64, 128),
        0.0,
        [[6, 6, 4, 4, 6]],
        [[([PADDED], 0.9)] * 4],
    ),
    (
        "a mask in the padding, one without a pixel, and one that is unlikely",
        (64, 128),
        0.0,
        [[6, 6, 4, 4, 6], [16, 6, 4, 4, 6], [26, 6, 4, 4, 6]],
        [
            [([PADDED], 0.9)] * 4,
            [([], 0.9)] * 4,
            [([[26, 6, 4, 4, 6]], 0.2)] * 4,
        ],
    ),
    (
        "a fragment of a much likelier object",
        (128, 128),
        0.0,
        [[6, 8, 4, 4, 6], [27, 8, 4, 4, 6]],
        [[([[6, 8, 4, 4, 6]], 0.9)] * 4, [([[27, 8, 4, 4, 6]], 0.0)] * 4],
    ),
    (
        "the pixel deepest inside a ragged part",
        (128, 128),
        0.0,
        RAGGED,
        [[(RAGGED, 0.9)] * 4],
    ),
    (
        "holes are filled and specks go",
        (100, 100),
        0.0,
        RING,
        [[([*RING, [30, 1, 0.9, 0.9, 5]], 0.9)] * 4],
    ),
]


def logits_of(blobs: list[Blob]) -> NDArray[np.float32]:
    """The logits [SIDE,SIDE] of blobs."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    values = [np.full((SIDE, SIDE), LOWEST)]
    for left, top, across, down, peak in blobs:
        values.append(peak * (1 - ((x - left) / across) ** 2 - ((y - top) / down) ** 2))
    logits: NDArray[np.float32] = np.max(values, axis=0).astype(np.float32)
    return logits


def patches() -> NDArray[np.float32]:
    """Unit vectors [1,GRID*GRID,2] that turn by 1/8 radian from one column to the next."""
    angles = np.tile(np.arange(GRID) / 8, GRID)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)[None].astype(np.float32)


def written() -> str:
    """The content of the file."""
    calibration = CALIBRATION.model_dump(include={"scale", "bias", "objects"})
    content: dict[str, Any] = {
        "resolution": RESOLUTION,
        "side": SIDE,
        "grid": GRID,
        "lowest": LOWEST,
        "text_embedding": [1.0, 0.0],
        "calibration": calibration,
        "cases": [_case(*each) for each in CASES_ASKED],
    }
    return f"{json.dumps(content, indent=1)}\n"


def _case(
    name: str,
    size: tuple[int, int],
    threshold: float,
    label: list[Blob],
    decoded: list[list[Drawn]],
) -> dict[str, Any]:
    frame = Frame.fit(*size, resolution=RESOLUTION)
    mask = logits_of(label)
    candidates = find_candidates(mask, frame=frame, mask_threshold=threshold)
    coords = candidates.prompts.point_coords.astype(float).round(4).tolist()
    alone = len(candidates.prompts) < 2
    low_res = np.stack([[logits_of(blobs) for blobs, _ in four] for four in decoded])
    ious = np.array([[iou for _, iou in four] for four in decoded], np.float32)
    if alone:
        drawn = low_res[:1, 0], ious[:1, 0]
    else:
        drawn = chosen_masks(low_res, ious, maps=candidates.maps, frame=frame)
    found = distinct_objects(
        *drawn,
        patch_embeddings=patches(),
        text=LabelVectors.of(np.array([[1, 0]], np.float32)),
        frame=frame,
        calibration=CALIBRATION,
        mask_threshold=threshold,
    )
    return {
        "name": name,
        "size": size,
        "extent": frame.extent().astype(int).tolist(),
        "mask_threshold": threshold,
        "label": label,
        "candidates": [{"point": row[0], "box": row[1] + row[2]} for row in coords],
        "decoded": [
            [{"blobs": blobs, "predicted_iou": iou} for blobs, iou in four] for four in decoded
        ],
        "objects": [
            {
                "score": round(each.found.score, 5),
                "label_score": round(each.found.label_score, 5),
                "predicted_iou": round(each.found.predicted_iou, 5),
                "stability_score": round(each.found.stability_score, 5),
                "area": each.found.mask.area,
                "box": [float(value) for value in each.found.mask.box],
            }
            for each in found
        ],
    }


if __name__ == "__main__":
    CASES.write_text(written(), encoding="utf-8")
