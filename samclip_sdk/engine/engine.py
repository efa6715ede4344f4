"""Runs the graphs of a model by name and times each step; every skill is built on this."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import contract_graphs, graph_key
from samclip_sdk.bundle.manifest import Task
from samclip_sdk.engine.graphs import OpenGraphs
from samclip_sdk.engine.rectangles import (
    covered_pixels,
    restore_masks,
    restore_patches,
    takes_rectangles,
)
from samclip_sdk.engine.texts import TextEmbedder
from samclip_sdk.errors import EmbeddingMismatchError, PromptError
from samclip_sdk.picture.frame import Frame, center_crop, letterbox
from samclip_sdk.picture.image import ImageOrigin, ImageSource, load_with_origin
from samclip_sdk.picture.model_prompts import Prompts
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
    """Runs a model's graphs by name; the skills are functions that take an engine.

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
        check_flag(bgr, name="bgr")
        self.bgr = bgr
        self._squares = False
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

    def encode(self, image: AnyImage, *, task: Task, clock: Stopwatch) -> ImageEmbedding:
        """Runs the backbone, unless it has run; a raw image is prepared as `task` needs it.

        Raises:
            EmbeddingMismatchError: the image was prepared or embedded for another model.
        """
        prepared = self.to_prepared(image, task=task, clock=clock)
        if isinstance(prepared, ImageEmbedding):
            return prepared
        frame, square = prepared.frame, prepared.square
        graph = graph_key("image_encoder", frame.resolution)
        if self.takes_rectangles(graph):
            step = self.manifest.model.image_encoder.resolution_step
            rows, columns = covered_pixels(frame, step=step)
            square = square[:, :, :rows, :columns]
        encoded = self.run(graph, {"image": square}, clock=clock)
        return ImageEmbedding(
            image_tokens=encoded["image_tokens"],
            image_embeddings=encoded["image_embeddings"],
            frame=frame,
            bundle_id=self.source.id,
            proposals=encoded.get("proposals"),
            speed=dict(clock.ms),
            origin=prepared.origin,
        )

    def clip_head(self, embedding: ImageEmbedding, *, clock: Stopwatch) -> HeadOutputs:
        """Runs the CLIP head.

        The outputs for the last embedding are kept while that embedding lives. So an image that is
        classified and then searched for labels needs only one run.
        """
        last = self._last_head  # read once: another thread may replace it at any moment
        if last is not None and last[0]() is embedding:
            return last[1]
        frame, (rows, columns) = embedding.frame, embedding.cells
        token_mask = frame.token_mask(patch_size=self.manifest.image.patch_size)
        feed = {
            "image_tokens": embedding.image_tokens,
            "token_mask": token_mask[:, :rows, :columns],
        }
        head = self._run_on(embedding, graph_key("clip_head", frame.resolution), feed, clock=clock)
        patches = head["patch_embeddings"]
        if rows != columns:
            patches = restore_patches(patches, cells=embedding.cells, grid=token_mask.shape[-1])
        outputs = HeadOutputs(patches, head["image_embedding"])
        self._last_head = (weakref.ref(embedding, self._forget_head), outputs)
        return outputs

    def patch_embeddings(self, embedding: ImageEmbedding, *, clock: Stopwatch) -> Array:
        """The CLIP head's embedding of each patch: [1,h*h,E], unit length."""
        return self.clip_head(embedding, clock=clock).patch_embeddings

    def decode(
        self, embedding: ImageEmbedding, *, prompts: Prompts, tokens: slice, clock: Stopwatch
    ) -> tuple[Array, Array]:
        """Encodes K prompts and decodes their masks, `max_prompts` of the manifest in a call.

        Args:
            embedding: the image's embedding.
            prompts: the prompts for that image.
            tokens: which of the decoder's four mask tokens to keep.
            clock: records how long the runs took.

        Returns:
            low_res_masks [K,T,4g,4g] and iou_predictions [K,T] of the T tokens.

        Raises:
            PromptError: there is not enough memory for the masks of so many prompts.
        """
        side, per_prompt = self.mask_side(embedding.frame), len(range(4)[tokens])
        try:
            masks = np.empty((len(prompts), per_prompt, side, side), dtype=np.float32)
        except MemoryError as error:
            raise PromptError(
                f"the masks of {len(prompts)} prompts take more memory than there is: give fewer "
                "prompts at once"
            ) from error
        scores = np.empty((len(prompts), per_prompt), dtype=np.float32)
        if takes_rectangles(self._graphs.session("prompt_encoder")):
            prompts = prompts.within(*embedding.cells)
        done = 0
        for feed in prompts.batches(self.manifest.masks.max_prompts):
            encoded = self.run("prompt_encoder", feed, clock=clock)
            decoded = self.decode_encoded(embedding, encoded, tokens=tokens, clock=clock)
            own = slice(done, done + len(decoded[0]))
            masks[own], scores[own] = decoded
            done = own.stop
        return masks, scores

    def decode_encoded(
        self,
        embedding: ImageEmbedding,
        encoded: Mapping[str, Array],
        *,
        tokens: slice,
        clock: Stopwatch,
    ) -> tuple[Array, Array]:
        """Decodes at most `max_prompts` from the prompt encoder's outputs: see `decode`."""
        rows, columns = embedding.cells
        feed = {
            "image_embeddings": embedding.image_embeddings,
            **encoded,
            "dense_embeddings": encoded["dense_embeddings"][:, :, :rows, :columns],
        }
        decoded = self._run_on(embedding, "mask_decoder", feed, clock=clock)
        low_res = decoded["low_res_masks"][:, tokens]
        low_res = restore_masks(low_res, side=self.mask_side(embedding.frame))
        return low_res, decoded["iou_predictions"][:, tokens]

    def mask_side(self, frame: Frame) -> int:
        """4g, the side of mask prompts and of low-resolution masks."""
        return self.manifest.mask_side(frame.resolution)

    def label_thresholds(self, labels: Sequence[str], *, allow_unknown: bool) -> Array:
        """The least presence of each label, float32 [K]: its own, or else the bundle's.

        Without `allow_unknown`, no presence is enough for a label that the model does not know.
        """
        check_flag(allow_unknown, name="allow_unknown")
        default = self.manifest.calibration.presence_threshold
        return self.texts.thresholds(labels, default=default, allow_unknown=allow_unknown)

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
        """Whether images go through image_encoder, by its key, without their padding."""
        return not self._squares and takes_rectangles(self._graphs.session(graph))

    def whole_squares(self) -> Engine:
        """The same engine, with the same graphs, for images with their padding.

        The goldens of the steps are of whole squares, which every runtime takes.
        """
        other = copy.copy(self)
        other._squares, other._last_head = True, None
        return other

    def close(self) -> None:
        """Frees the graphs. A later call opens them again when it needs them."""
        self._graphs.close()
        self._last_head = None

    def _run_on(
        self, embedding: ImageEmbedding, graph: str, feed: Arrays, *, clock: Stopwatch
    ) -> dict[str, Array]:
        """Runs a head; refuses an embedding without padding if it is for whole squares."""
        rows, columns = embedding.cells
        if rows != columns and not takes_rectangles(self._graphs.session(graph)):
            raise EmbeddingMismatchError(
                f"the image embedding has {rows} x {columns} cells, without padding, and "
                f"{self.source.runtime} takes whole squares only: encode the image again"
            )
        return self.run(graph, feed, clock=clock)

    def _forget_head(self, gone: weakref.ref[ImageEmbedding]) -> None:
        last = self._last_head
        if last is not None and last[0] is gone:
            self._last_head = None
