"""Makes the goldens of the steps of apps: letterbox, score maps, masks, texts to masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.golden_tensors import GoldenTensors, storable, widened
from export.probes import IMAGES, Probe, disc_logits
from samclip_sdk.bundle.manifest import GOLDEN_LABELS, ModelInfo
from samclip_sdk.device.goldens.app_checks import masks_of_logits
from samclip_sdk.device.goldens.formula import formula_image
from samclip_sdk.device.goldens.schema import (
    GoldenLetterbox,
    GoldenMask,
    GoldenScoreMap,
    GoldenTextToMask,
)
from samclip_sdk.engine.label_points import best_points
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import presence_of
from samclip_sdk.engine.queries import POINTS_PER_CLASS
from samclip_sdk.image.frame import Frame, letterbox
from samclip_sdk.image.masks import binarize

IMAGE = "picture"

_LARGE = ((1021, 1533), (1537, 611), (513, 700))
_MASKS = ((211, 333), (700, 310), (90, 70))
_MASK_PROMPT_ERROR = 1e-3


@dataclass(frozen=True)
class AskedTexts:
    """An image, the labels of a pack, and the answer of eager torch.

    Attributes:
        image: uint8 [H,W,3].
        pack: the content of the vocabulary pack.
        probe: the probe of `text_to_mask@S`.
    """

    image: NDArray[np.uint8]
    pack: bytes
    probe: Probe


def app_goldens(
    tensors: GoldenTensors, *, info: ModelInfo, texts: AskedTexts | None
) -> dict[str, Any]:
    """Makes the fields of the index for the goldens of apps, by name.

    Args:
        tensors: stores the arrays.
        info: the model.
        texts: the golden of texts; None for random weights.
    """
    tasks = (info.tasks.segmentation, info.tasks.classification)
    sides = sorted({task.resolution for task in tasks if task.crop == "letterbox"})
    return {
        "letterbox": tuple(
            _letterbox(size, side, tensors=tensors, info=info)
            for side in sides
            for size in (None, *_LARGE)
        ),
        "score_maps": tuple(
            _score_map(size, tensors=tensors, info=info) for size in ((96, 62), (62, 96), (80, 80))
        ),
        "masks": tuple(_mask(size, tensors=tensors, info=info) for size in _MASKS),
        "text_to_mask": () if texts is None else (_text_to_mask(texts, tensors, info),),
    }


def _letterbox(
    size: tuple[int, int] | None, side: int, *, tensors: GoldenTensors, info: ModelInfo
) -> GoldenLetterbox:
    """Records the letterboxed small image, or the letterboxed formula image of a size."""
    image = IMAGES[0] if size is None else formula_image(*size)
    height, width = image.shape[:2]
    square, frame = letterbox(image, resolution=side, pad_colour=info.image.pad_colour)
    return GoldenLetterbox(
        image=IMAGE if size is None else None,
        size=(height, width),
        resolution=side,
        extent=(frame.resized_height_px, frame.resized_width_px),
        output=tensors.sample(square, key=f"letterbox.{height}x{width}@{side}"),
    )


def _score_map(size: tuple[int, int], *, tensors: GoldenTensors, info: ModelInfo) -> GoldenScoreMap:
    side = info.tasks.segmentation.resolution
    grid = side // info.image.patch_size
    cells = grid // info.model.token_pooling(side)
    stored = tensors.keep(_hill(cells), key="score_map")
    score_map = widened(storable(_hill(cells))).astype(np.float32)
    frame = Frame.fit(*size, resolution=side)
    threshold = info.calibration.mask_threshold_score
    # The points of the rule `points_and_box`.
    points = best_points(score_map, frame=frame, count=POINTS_PER_CLASS, threshold=threshold)
    scale = info.calibration.prompt_scale
    prompt = mask_prompt(score_map, frame=frame, side=4 * grid, scale=scale)
    key = f"score_map.{size[0]}x{size[1]}.mask_input"
    return GoldenScoreMap(
        score_map=stored,
        size=size,
        resolution=side,
        presence=float(presence_of(score_map[None], frame=frame)[0]),
        points=tuple((x, y) for x, y in points.tolist()),
        mask_input=tensors.expect(prompt, key=key, max_error=_MASK_PROMPT_ERROR),
    )


def _hill(cells: int) -> NDArray[np.float32]:
    """Scores [h,h] of a label: a maximum beside the middle, and two equal cells near it."""
    y, x = np.mgrid[:cells, :cells] / cells
    hill: NDArray[np.float32] = (3 - 12 * np.hypot(x - 0.45, y - 0.4)).astype(np.float32)
    hill[cells // 2, cells // 4] = hill[cells // 4, cells // 2] = 2.5
    return hill


def _mask(size: tuple[int, int], *, tensors: GoldenTensors, info: ModelInfo) -> GoldenMask:
    side = info.tasks.segmentation.resolution
    logits = disc_logits(4 * side // info.image.patch_size, radius=0.3)[0]
    key = tensors.keep(logits[0], key="mask.low_res")
    frame = Frame.fit(*size, resolution=side)
    low_res = widened(storable(logits)).astype(np.float32)
    mask = binarize(low_res, frame=frame, mask_threshold=info.masks.mask_threshold)
    bits = tensors.keep(np.packbits(mask), key=f"mask.{size[0]}x{size[1]}")
    return GoldenMask(low_res=key, size=size, resolution=side, mask=bits)


def _text_to_mask(texts: AskedTexts, tensors: GoldenTensors, info: ModelInfo) -> GoldenTextToMask:
    height, width = texts.image.shape[:2]
    frame = Frame.fit(height, width, resolution=info.tasks.segmentation.resolution)
    answer = texts.probe.expected
    logits = np.asarray(answer["mask_logits"], dtype=np.float32)
    presence = np.asarray(answer["presence"], dtype=np.float32)
    masks = masks_of_logits(logits, presence, frame=frame, info=info)
    return GoldenTextToMask(
        image=tensors.keep(texts.image, key="text_to_mask.image"),
        pack=GOLDEN_LABELS,
        presence=tuple(presence.tolist()),
        scores=tuple(answer["scores"].tolist()),
        masks=tensors.keep(np.packbits(masks), key="text_to_mask.masks"),
    )
