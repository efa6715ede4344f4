"""The ways from texts to masks: one head, both, the paper's drawn points, and the apps' graph.

Each gives K labels of a picture a mask bool [H,W], whatever its presence, and presence float32 [K],
so that one answer serves all thresholds: a label's mask depends on neither the threshold nor the
other labels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.teachers import embed_noun
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.engine.label_points import cell_points
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import sigmoid
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.masks import binarize
from samclip_sdk.runtimes.source import BundleSource

Answer = tuple[Sequence[np.ndarray], np.ndarray]
Way = Callable[[ImageEmbedding, Sequence[str]], Answer]

_POINTS = 3
_THRESHOLD = 0.5
_NO_POINT = -1


def two_heads(model: SamClip) -> dict[str, Way]:
    """The CLIP head alone, and both heads."""
    return {"clip_head": partial(_ask, model, False), "both_heads": partial(_ask, model, True)}


def all_ways(model: SamClip, *, seed: int) -> dict[str, Way]:
    """Both, points drawn at random, and the graph `text_to_mask@S` if the model comes with it."""
    found = two_heads(model) | {"drawn_points": partial(by_drawn_points, model, seed=seed)}
    graph = find_one_graph(model)
    return found if graph is None else found | {"one_graph": graph}


def _ask(model: SamClip, refine: bool, image: ImageEmbedding, labels: Sequence[str]) -> Answer:
    answer = model.segment_text(image, labels, threshold=0.0, refine=refine)
    return answer.masks, answer.presence


def by_drawn_points(
    model: SamClip, image: ImageEmbedding, labels: Sequence[str], *, seed: int
) -> Answer:
    """Text to mask as the paper has it: points drawn at random, one prompt a label (section 4.4).

    A label's score map is the mask prompt, with three of its cells as points; what the decoder
    answers is the mask. A draw depends on the seed and the label alone.
    """
    found = model.segment_text(image, labels, threshold=1.0, refine=False).asked
    frame, side = image.frame, 4 * image.image_embeddings.shape[-1]
    points = np.zeros((len(labels), _POINTS, 2), np.float32)
    kinds = np.full(points.shape[:2], _NO_POINT)
    for place, (label, scores) in enumerate(zip(labels, found.score_maps, strict=True)):
        rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
        own = draw_points(scores, frame=frame, rng=rng)
        points[place, : len(own)], kinds[place, : len(own)] = own, 1
    maps = [mask_prompt(each, frame=frame, side=side) for each in found.score_maps]
    answer = model.segment(
        image,
        points=points,
        point_labels=kinds,
        mask_input=np.stack(maps),
        multimask_output=False,
    )
    return answer.masks, found.presence


def draw_points(score_map: np.ndarray, *, frame: Frame, rng: np.random.Generator) -> np.ndarray:
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


def find_one_graph(model: SamClip) -> Way | None:
    """Text-to-mask as apps have it: one prompt a label, in the graph `text_to_mask@S`.

    None if the model does not come with the graph for its runtime and precision.
    """
    source, manifest = model.source, model.manifest
    if not isinstance(source, BundleSource) or source.runtime not in ("onnx", "coreml"):
        return None
    name = graph_key("text_to_mask", manifest.tasks.segmentation.resolution)
    graph = source.bundle.manifest.graphs.get(name)
    kinds = {(each.runtime, each.precision) for each in graph.artifacts} if graph else set()
    if (source.runtime, source.precision) not in kinds:
        return None
    session = source.session(name)

    def ask(image: ImageEmbedding, labels: Sequence[str]) -> Answer:
        answer = session.run(
            {
                "image_tokens": image.image_tokens,
                "image_embeddings": image.image_embeddings,
                "extent": image.frame.extent(),
                "text_embeddings": np.stack([embed_noun(model, label) for label in labels]),
            }
        )
        threshold = manifest.masks.mask_threshold
        masks = binarize(answer["mask_logits"], frame=image.frame, mask_threshold=threshold)
        return list(masks), answer["presence"]

    return ask
