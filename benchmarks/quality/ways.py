"""The ways from texts to masks: one head, both, and the apps' graph.

Each gives K labels of a picture a mask bool [H,W], whatever its presence, and presence float32 [K],
so that one answer serves all thresholds: a label's mask depends on neither the threshold nor the
other labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.picture.masks import binarize
from samclip_sdk.runtimes.source import BundleSource

Answer = tuple[Sequence[np.ndarray], np.ndarray]
Way = Callable[[ImageEmbedding, Sequence[str]], Answer]


def two_heads(model: SamClip) -> dict[str, Way]:
    """The CLIP head alone, and both heads."""

    def ask(refine: bool, image: ImageEmbedding, labels: Sequence[str]) -> Answer:
        answer = model.segment_text(image, labels, threshold=0.0, refine=refine)
        return answer.masks, answer.presence

    return {"clip_head": partial(ask, False), "both_heads": partial(ask, True)}


def all_ways(model: SamClip) -> dict[str, Way]:
    """Both, and the graph `text_to_mask@S` if the model comes with it."""
    graph = find_one_graph(model)
    return two_heads(model) | ({} if graph is None else {"one_graph": graph})


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
                "text_embeddings": model.embed_labels(labels),
            }
        )
        threshold = manifest.masks.mask_threshold
        masks = binarize(answer["mask_logits"], frame=image.frame, mask_threshold=threshold)
        return list(masks), answer["presence"]

    return ask
