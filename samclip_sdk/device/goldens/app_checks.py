"""Re-runs the goldens of the steps that apps implement, and of the graphs that apps run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.letterbox_check import check_letterbox, letterbox_image
from samclip_sdk.device.goldens.schema import (
    GoldenIndex,
    GoldenMask,
    GoldenScoreMap,
    GoldenTextToMask,
    golden_error,
)
from samclip_sdk.device.goldens.tasks import unpack_masks
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.label_points import best_points
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import presence_of
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import POINTS_PER_CLASS
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import binarize
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.text.vocabulary import read_vocabulary

Array = NDArray[np.float32]

_ROUNDING = 1e-3
_SAME_MASK = 1e-3
_PRESENCE = {"fp32": 0.01, "fp16": 0.02, "int8": 0.1, "palette6": 0.1}
_MASKS = {"fp32": 0.02, "fp16": 0.05, "int8": 0.1, "palette6": 0.1}
"""The bounds of `text_to_mask@S`: the error of the presence, and 1 minus the IoU of the masks."""


def app_checks(
    bundle: Bundle, index: GoldenIndex, *, tensors: Tensors, engine: Engine
) -> Iterator[Check]:
    """Runs the goldens of score maps, masks and the graphs of apps.

    Args:
        bundle: the bundle with the goldens.
        index: the index of the goldens.
        tensors: the arrays of the goldens.
        engine: runs the graphs; the goldens of an app's graph run if the engine's artifacts have
            it.

    Yields:
        Each check, as soon as it is made.
    """
    info = bundle.manifest
    for scores in index.score_maps:
        yield from _score_map(scores, tensors=tensors, info=info)
    for mask in index.masks:
        yield _mask(mask, tensors=tensors, info=info)
    source, graphs = engine.source, bundle.manifest.graphs
    if source.runtime == "onnx":
        yield from _letterboxes(bundle, index, tensors=tensors)
    whole = graph_key("text_to_mask", info.tasks.segmentation.resolution)
    artifacts = graphs[whole].artifacts if whole in graphs else ()
    kinds = {(each.runtime, each.precision) for each in artifacts}
    if (source.runtime, source.precision) in kinds:
        for golden in index.text_to_mask:
            yield from _text_to_mask(golden, bundle=bundle, engine=engine, tensors=tensors)


def masks_of_logits(
    logits: Array, presence: Array, *, frame: Frame, info: ModelInfo
) -> NDArray[np.bool_]:
    """Makes masks from the outputs of `text_to_mask@S`, as an app does.

    Args:
        logits: mask_logits [K,S,S].
        presence: presence [K].
        frame: the place of the image in the model's input.
        info: has the thresholds.

    Returns:
        bool [K,H,W]; the mask of an absent label is empty.
    """
    masks = binarize(logits, frame=frame, mask_threshold=info.masks.mask_threshold)
    there: NDArray[np.bool_] = presence >= info.calibration.presence_threshold
    return masks & there[:, None, None]


def _score_map(golden: GoldenScoreMap, *, tensors: Tensors, info: ModelInfo) -> Iterator[Check]:
    score_map = tensors[golden.score_map].astype(np.float32)
    frame = Frame.fit(*golden.size, resolution=golden.resolution)
    own = info.calibration
    name = f"score map of {golden.size[0]} x {golden.size[1]}"
    presence = float(presence_of(score_map[None], frame=frame)[0])
    off = abs(presence - golden.presence)
    yield Check(name=f"{name} to presence", error=off, bound=_ROUNDING)
    # The points of the rule `points_and_box`.
    points = best_points(
        score_map, frame=frame, count=POINTS_PER_CLASS, threshold=own.mask_threshold_score
    )
    wanted = np.array(golden.points, dtype=np.float32).reshape(-1, 2)
    same = points.shape == wanted.shape
    off = float(np.abs(points - wanted).max()) if same else float("inf")
    yield Check(name=f"{name} to points", error=off, bound=_ROUNDING)
    side = info.mask_side(golden.resolution)
    prompt = mask_prompt(score_map, frame=frame, side=side, scale=own.prompt_scale)
    expected = golden.mask_input
    error = golden_error(prompt, expected=tensors[expected.tensor], step=expected.step)
    yield Check(name=f"{name} to mask prompt", error=error, bound=expected.max_error)


def _mask(golden: GoldenMask, *, tensors: Tensors, info: ModelInfo) -> Check:
    height, width = golden.size
    mask = binarize(
        tensors[golden.low_res].astype(np.float32)[None],
        frame=Frame.fit(height, width, resolution=golden.resolution),
        mask_threshold=info.masks.mask_threshold,
    )
    wanted = unpack_masks(tensors[golden.mask], count=1, size=golden.size)
    error = 1 - _iou(mask, wanted)
    return Check(name=f"logits to a mask of {height} x {width}", error=error, bound=_SAME_MASK)


def _letterboxes(bundle: Bundle, index: GoldenIndex, *, tensors: Tensors) -> Iterator[Check]:
    """Checks the letterbox graphs; they are the same for all precisions."""
    for golden in index.letterbox:
        name = graph_key("letterbox", golden.resolution)
        spec = bundle.manifest.graphs.get(name)
        if spec is None:
            continue
        (file,) = bundle.graph_files(name, runtime="onnx", precision="fp32")
        session = OrtSession(GraphFile(file.path), spec=spec)
        found = session.run({"picture": letterbox_image(golden, tensors=tensors)})
        session.close()
        rows, columns = (int(side) for side in found["extent"])
        yield check_letterbox(
            golden, found["image"], extent=(rows, columns), tensors=tensors, by=f" by {name}"
        )


def _text_to_mask(
    golden: GoldenTextToMask, *, bundle: Bundle, engine: Engine, tensors: Tensors
) -> Iterator[Check]:
    """Checks the way from an image and a pack of labels to masks."""
    info = bundle.manifest
    labels = read_vocabulary(bundle.file(golden.pack), manifest=info)
    image = tensors[golden.image].astype(np.uint8)
    one = Pass(engine, image, whole_square=True)
    embedding, frame = one.embedding, one.frame
    name = graph_key("text_to_mask", frame.resolution)
    answer = one.run(
        name,
        {
            "image_tokens": embedding.image_tokens,
            "image_embeddings": embedding.image_embeddings,
            "extent": frame.extent(),
            "text_embeddings": labels.matrix,
        },
    )
    precision = engine.source.precision
    off = float(np.abs(answer["presence"] - np.array(golden.presence)).max())
    yield Check(name=f"{name} presence", error=off, bound=_PRESENCE[precision])
    masks = masks_of_logits(answer["mask_logits"], answer["presence"], frame=frame, info=info)
    size = (frame.height_px, frame.width_px)
    wanted = unpack_masks(tensors[golden.masks], count=len(masks), size=size)
    error = 1 - _iou(masks, wanted)
    yield Check(name=f"{name} masks, 1 - IoU", error=error, bound=_MASKS[precision])


def _iou(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """The IoU of two sets of masks [K,H,W] over the pixels of all masks; 1 if all are empty."""
    union = int((found | wanted).sum())
    return int((found & wanted).sum()) / union if union else 1.0
