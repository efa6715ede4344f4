"""Text-to-mask as apps have it: one prompt a label, in the graph `text_to_mask@S`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.ranking import embed_noun
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.masks import binarize
from samclip_sdk.model_source import BundleSource


class OneGraph:
    """A model's graph for apps, on the model's own runtime.

    Args:
        model: of a bundle that has the graph, see `has_graph`.
    """

    def __init__(self, model: SamClip) -> None:
        self._model = model
        self._session = model.source.session(_name(model))

    @staticmethod
    def has_graph(model: SamClip) -> bool:
        """Whether the model comes with the graph for its runtime and precision."""
        source = model.source
        if not isinstance(source, BundleSource) or source.runtime not in ("onnx", "coreml"):
            return False
        graph = source.bundle.manifest.graphs.get(_name(model))
        kinds = {(each.runtime, each.precision) for each in graph.artifacts} if graph else set()
        return (source.runtime, source.precision) in kinds

    def ask(
        self, image: ImageEmbedding, labels: Sequence[str]
    ) -> tuple[Sequence[np.ndarray], np.ndarray]:
        """The masks bool [H,W] of labels, whatever their presence, and presence float32 [K]."""
        frame, manifest = image.frame, self._model.manifest
        answer = self._session.run(
            {
                "image_tokens": image.image_tokens,
                "image_embeddings": image.image_embeddings,
                "extent": frame.extent(),
                "text_embeddings": np.stack([embed_noun(self._model, label) for label in labels]),
            }
        )
        threshold = manifest.masks.mask_threshold
        masks = binarize(answer["mask_logits"], frame=frame, mask_threshold=threshold)
        return list(masks), answer["presence"]


def _name(model: SamClip) -> str:
    return graph_key("text_to_mask", model.manifest.tasks.segmentation.resolution)
