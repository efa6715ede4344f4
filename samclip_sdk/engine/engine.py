"""Runs the graphs of a model by name and times each step; every pass over an image uses this."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import contract_graphs, graph_key
from samclip_sdk.bundle.manifest import Task
from samclip_sdk.engine.graphs import OpenGraphs
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.queries import LabelQuery
from samclip_sdk.engine.rectangles import takes_rectangles
from samclip_sdk.engine.texts import TextEmbedder
from samclip_sdk.errors import EmbeddingMismatchError
from samclip_sdk.image.frame import Frame, center_crop, letterbox
from samclip_sdk.image.loading import ImageOrigin, ImageSource, load_with_origin
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.runtimes.session import Arrays, run_graph
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.arguments import check_flag
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.known_words import KnownWords
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import Tokenizer
from samclip_sdk.text.vocabulary import read_vocabulary
from samclip_sdk.text.word_table import read_table

Array = NDArray[np.float32]

AnyImage: TypeAlias = "ImageSource | PreparedImage | ImageEmbedding"
"""An image at any point of its way to the heads."""


class HeadOutputs(NamedTuple):
    """The CLIP head's outputs: patch_embeddings [1,h*h,E] and image_embedding [1,E]."""

    patch_embeddings: Array
    image_embedding: Array


class Engine:
    """Runs a model's graphs by name, prepares images, and embeds texts; see `Pass`.

    Any number of threads may use one engine.

    Args:
        source: where the graphs come from.
        stored_labels: the class embeddings of labels on disk, for later processes. If None, the
            text encoder runs once for each label in each process.
        bgr: whether images that are arrays are in BGR.

    Attributes:
        source: where the graphs come from.
        manifest: the model's sizes, tasks, templates and thresholds.
        texts: embeds texts and labels.
        bgr: as given.
    """

    def __init__(
        self, source: ModelSource, *, stored_labels: StoredLabels | None = None, bgr: bool = False
    ) -> None:
        self.source = source
        self.bgr = check_flag(bgr, name="bgr")
        self.manifest = source.manifest
        resolution = self.manifest.tasks.segmentation.resolution
        graphs = contract_graphs(self.manifest.model, resolutions=[resolution])
        self._encoder = graphs[graph_key("image_encoder", resolution)]
        self._graphs = OpenGraphs(source)
        self.texts = TextEmbedder(
            lambda: self._graphs.session("text_encoder"),
            tokenizer=lambda: Tokenizer(
                source.tokenizer_path, context_length=source.manifest.text.context_length
            ),
            templates=source.manifest.text.templates,
            known=lambda: self.known_words,
            stored=stored_labels,
        )
        self._last_head: tuple[weakref.ref[ImageEmbedding], HeadOutputs] | None = None

    def run(self, graph: str, feed: Arrays, *, clock: Stopwatch) -> dict[str, Array]:
        """Runs a graph and times it under its name; opening it is not counted.

        Args:
            graph: the graph's key, such as `image_encoder@256`.
            feed: the graph's inputs by name.
            clock: records how long the run took.

        Returns:
            The graph's outputs by name; all outputs of all graphs are float32.

        Raises:
            RunError: the runtime failed.
            VerificationError: an output holds NaN or infinity.
        """
        session = self._graphs.session(graph)
        with clock.step(graph.partition("@")[0]):
            return run_graph(session, feed, graph=graph)

    def prepare(self, image: ImageSource, *, task: Task, clock: Stopwatch) -> PreparedImage:
        """Reads an image and fits it to the backbone as `task` needs it; runs no graph."""
        with clock.step("load_image"):
            pixels, origin = load_with_origin(image, bgr=self.bgr)
        return self.preprocess(pixels, origin=origin, task=task, clock=clock)

    def preprocess(
        self, pixels: NDArray[np.uint8], *, origin: ImageOrigin | None, task: Task, clock: Stopwatch
    ) -> PreparedImage:
        """Fits pixels [H,W,3], read from `origin`, to the backbone as `task` needs them."""
        resolution = task.resolution
        with clock.step("preprocess"):
            if task.crop == "center_crop":
                square = center_crop(pixels, resolution=resolution)
                frame = Frame.fit(resolution, resolution, resolution=resolution)
            else:
                square, frame = letterbox(
                    pixels, resolution=resolution, pad_colour=self.manifest.image.pad_colour
                )
        return PreparedImage(square=square, frame=frame, bundle_id=self.source.id, origin=origin)

    def to_prepared(
        self, image: AnyImage, *, task: Task, clock: Stopwatch
    ) -> PreparedImage | ImageEmbedding:
        """Prepares a raw image for the backbone as `task` needs it; returns others as they are.

        Raises:
            EmbeddingMismatchError: the image was prepared or embedded for another model.
        """
        if isinstance(image, ImageEmbedding):
            image.check_model(self.source.id, encoder=self._encoder)
            return image
        if not isinstance(image, PreparedImage):
            return self.prepare(image, task=task, clock=clock)
        if image.bundle_id != self.source.id:
            raise EmbeddingMismatchError(
                f"the image was prepared for model {image.bundle_id}, this is model "
                f"{self.source.id}: prepare it again"
            )
        return image

    def label_thresholds(self, labels: Sequence[str], *, allow_unknown: bool) -> Array:
        """The least presence of each label, float32 [K]: its own, or else the bundle's.

        Without `allow_unknown`, no presence is enough for a label that the model does not know.
        """
        default = self.manifest.calibration.presence_threshold
        return self.texts.thresholds(labels, default=default, allow_unknown=allow_unknown)

    def options(self, query: LabelQuery) -> TextToMaskOptions:
        """How the labels of a query become masks: as asked, or by their own and the bundle's."""
        presence: float | Array | None = query.threshold
        if presence is None:
            presence = self.label_thresholds(query.labels, allow_unknown=query.allow_unknown)
        return TextToMaskOptions.of_query(query, manifest=self.manifest, presence=presence)

    @cached_property
    def known_words(self) -> KnownWords | None:
        """The words that the model was taught; None if its bundle does not tell them."""
        nouns, table = self.source.nouns_path, self.source.words_path
        if nouns is None:
            return None
        pack = read_vocabulary(nouns, manifest=self.manifest)
        reads = None if table is None else partial(read_table, table)
        return KnownWords(pack.labels, pack.matrix, pack.thresholds, reads)

    def takes_rectangles(self, graph: str) -> bool:
        """Whether a graph, by its key, takes images or prompts without their padding."""
        return takes_rectangles(self._graphs.session(graph))

    def head_of(self, embedding: ImageEmbedding, compute: Callable[[], HeadOutputs]) -> HeadOutputs:
        """The CLIP head's outputs for an embedding: computed, or kept from the last time.

        Those of the last embedding are kept while it lives. So an image that is classified and then
        searched for labels needs only one run.
        """
        last = self._last_head  # read once: another thread may replace it at any moment
        if last is not None and last[0]() is embedding:
            return last[1]
        outputs = compute()
        self._last_head = (weakref.ref(embedding, self._forget_head), outputs)
        return outputs

    def close(self) -> None:
        """Frees the graphs. A later call opens them again when it needs them."""
        self._graphs.close()
        self._last_head = None

    def _forget_head(self, gone: weakref.ref[ImageEmbedding]) -> None:
        last = self._last_head
        if last is not None and last[0] is gone:
            self._last_head = None
