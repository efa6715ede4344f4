"""One image on its way through the model; every skill is a function of a pass and a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import Calibration, Task
from samclip_sdk.engine.engine import AnyImage, Array, Engine, HeadOutputs
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.queries import LabelQuery
from samclip_sdk.engine.rectangles import covered_pixels, restore_masks, restore_patches
from samclip_sdk.errors import EmbeddingMismatchError, PromptError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.image.model_prompts import Prompts
from samclip_sdk.image.proposals import NO_PROPOSALS, Proposals, read_proposals
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.word_table import Reading

Answer = TypeVar("Answer", Instances, NamedMasks, TextMasks)

TaskName: TypeAlias = Literal["segmentation", "classification"]


def proposals_of(embedding: ImageEmbedding) -> Proposals:
    """The boxes that the image encoder proposes in an image; none if it has no head for it."""
    values = embedding.proposals
    return NO_PROPOSALS if values is None else read_proposals(values, frame=embedding.frame)


class Pass:
    """A model's pass over an image. Each step runs when it is first needed, and once.

    A pass is of one thread; any number of passes may share an engine.

    Args:
        engine: runs the graphs.
        image: the image, at any point of its way to the heads.
        task: decides how a raw image is read.
        whole_square: whether the backbone gets the padding, too, if its graph could do without. The
            goldens of single steps are of whole squares, which every runtime takes.
        clock: measures the steps; a new one by default.

    Attributes:
        engine: as given.
        image: as given.
        clock: as given.
        manifest: the model's sizes, tasks, templates and thresholds.
    """

    def __init__(
        self,
        engine: Engine,
        image: AnyImage,
        *,
        task: TaskName = "segmentation",
        whole_square: bool = False,
        clock: Stopwatch | None = None,
    ) -> None:
        self.engine, self.image, self.manifest = engine, image, engine.manifest
        self.clock = clock or Stopwatch()
        self._task, self._whole_square = task, whole_square
        # No cached_property: before Python 3.12 all passes would wait for one lock.
        self._prepared: PreparedImage | ImageEmbedding | None = None
        self._embedding: ImageEmbedding | None = None
        self._proposals: Proposals | None = None

    @property
    def prepared(self) -> PreparedImage | ImageEmbedding:
        """The image, ready for the backbone, or through it if it was given so.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: the image was prepared or embedded for another model.
        """
        if self._prepared is None:
            self._prepared = self.engine.to_prepared(self.image, task=self.task, clock=self.clock)
        return self._prepared

    def of(self, image: PreparedImage | ImageEmbedding) -> Pass:
        """A pass over an image that is prepared, of the same kind and with the same clock."""
        return Pass(
            self.engine,
            image,
            task=self._task,
            whole_square=self._whole_square,
            clock=self.clock,
        )

    def of_pixels(self, pixels: NDArray[np.uint8], *, origin: ImageOrigin | None) -> Pass:
        """A pass over pixels [H,W,3] that were read from `origin`, with the same clock."""
        return self.of(
            self.engine.preprocess(pixels, origin=origin, task=self.task, clock=self.clock)
        )

    @property
    def task(self) -> Task:
        """How a raw image is read."""
        task: Task = getattr(self.manifest.tasks, self._task)
        return task

    @property
    def frame(self) -> Frame:
        """Where the image lies in the model's input."""
        return self.prepared.frame

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self.frame.height_px, self.frame.width_px

    @property
    def mask_side(self) -> int:
        """4g, the side of mask prompts and of low-resolution masks."""
        return self.manifest.mask_side(self.frame.resolution)

    @property
    def calibration(self) -> Calibration:
        """The calibration of the model's scores."""
        return self.manifest.calibration

    @property
    def embedding(self) -> ImageEmbedding:
        """The image's embedding: the backbone runs, unless it has run.

        Raises:
            ImageError: as `prepared`.
            EmbeddingMismatchError: as `prepared`.
        """
        if self._embedding is None:
            known = self.prepared
            self._embedding = known if isinstance(known, ImageEmbedding) else self._encode(known)
        return self._embedding

    @property
    def head(self) -> HeadOutputs:
        """The CLIP head's outputs; see `Engine.head_of`."""
        return self.engine.head_of(self.embedding, self._run_head)

    @property
    def patches(self) -> Array:
        """The CLIP head's embedding of each patch: [1,h*h,E], unit length."""
        return self.head.patch_embeddings

    @property
    def proposals(self) -> Proposals:
        """The boxes that the image encoder proposes for things of any kind; none without a head."""
        if self._proposals is None:
            embedding = self.embedding
            with self.step("postprocess"):
                self._proposals = proposals_of(embedding)
        return self._proposals

    def step(self, name: str) -> AbstractContextManager[None]:
        """Measures a step."""
        return self.clock.step(name)

    def run(self, graph: str, feed: Arrays) -> dict[str, Array]:
        """Runs a graph, see `Engine.run`."""
        return self.engine.run(graph, feed, clock=self.clock)

    def decode(self, prompts: Prompts, *, tokens: slice) -> tuple[Array, Array]:
        """Encodes K prompts and decodes their masks, `max_prompts` of the manifest in a call.

        Args:
            prompts: the prompts for the image.
            tokens: which of the decoder's four mask tokens to keep.

        Returns:
            low_res_masks [K,T,4g,4g] and iou_predictions [K,T] of the T tokens.

        Raises:
            PromptError: there is not enough memory for the masks of so many prompts.
        """
        side, per_prompt = self.mask_side, len(range(4)[tokens])
        try:
            masks = np.empty((len(prompts), per_prompt, side, side), dtype=np.float32)
        except MemoryError as error:
            raise PromptError(
                f"the masks of {len(prompts)} prompts take more memory than there is: give fewer "
                "prompts at once"
            ) from error
        scores = np.empty((len(prompts), per_prompt), dtype=np.float32)
        if self.engine.takes_rectangles("prompt_encoder"):
            prompts = prompts.within(*self.embedding.cells)
        done = 0
        for feed in prompts.batches(self.manifest.masks.max_prompts):
            decoded = self.decode_encoded(self.run("prompt_encoder", feed), tokens=tokens)
            own = slice(done, done + len(decoded[0]))
            masks[own], scores[own] = decoded
            done = own.stop
        return masks, scores

    def decode_encoded(self, encoded: Mapping[str, Array], *, tokens: slice) -> tuple[Array, Array]:
        """Decodes at most `max_prompts` from the prompt encoder's outputs: see `decode`."""
        rows, columns = self.embedding.cells
        feed = {
            "image_embeddings": self.embedding.image_embeddings,
            **encoded,
            "dense_embeddings": encoded["dense_embeddings"][:, :, :rows, :columns],
        }
        decoded = self._run_on_embedding("mask_decoder", feed)
        low_res = restore_masks(decoded["low_res_masks"][:, tokens], side=self.mask_side)
        return low_res, decoded["iou_predictions"][:, tokens]

    def embed_labels(self, labels: Sequence[str]) -> LabelVectors:
        """The vectors of labels from `check_labels`."""
        return self.engine.texts.embed_labels(labels, clock=self.clock)

    def told(self, labels: Sequence[str]) -> dict[str, Reading]:
        """What an answer must tell of labels; see `TextEmbedder.told`."""
        return self.engine.texts.told(labels, clock=self.clock)

    def options(self, query: LabelQuery) -> TextToMaskOptions:
        """How the labels of a query become masks; see `Engine.options`."""
        return self.engine.options(query)

    def signed(self, result: Answer, *, labels: Sequence[str]) -> Answer:
        """A result with the steps' times, its image, and what its labels were taken for."""
        return replace(
            result,
            speed=self.clock.ms,
            origin=self.prepared.origin,
            read_as=self.told(labels),
        )

    def _encode(self, prepared: PreparedImage) -> ImageEmbedding:
        """Runs the backbone."""
        frame, square = prepared.frame, prepared.square
        graph = graph_key("image_encoder", frame.resolution)
        if not self._whole_square and self.engine.takes_rectangles(graph):
            step = self.manifest.model.image_encoder.resolution_step
            rows, columns = covered_pixels(frame, step=step)
            square = square[:, :, :rows, :columns]
        encoded = self.run(graph, {"image": square})
        return ImageEmbedding(
            image_tokens=encoded["image_tokens"],
            image_embeddings=encoded["image_embeddings"],
            frame=frame,
            bundle_id=self.engine.source.id,
            proposals=encoded.get("proposals"),
            speed=dict(self.clock.ms),
            origin=prepared.origin,
        )

    def _run_head(self) -> HeadOutputs:
        embedding = self.embedding
        rows, columns = embedding.cells
        token_mask = self.frame.token_mask(patch_size=self.manifest.image.patch_size)
        feed = {
            "image_tokens": embedding.image_tokens,
            "token_mask": token_mask[:, :rows, :columns],
        }
        head = self._run_on_embedding(graph_key("clip_head", self.frame.resolution), feed)
        patches = head["patch_embeddings"]
        if rows != columns:
            patches = restore_patches(patches, cells=embedding.cells, grid=token_mask.shape[-1])
        return HeadOutputs(patches, head["image_embedding"])

    def _run_on_embedding(self, graph: str, feed: Arrays) -> dict[str, Array]:
        """Runs a head; refuses an embedding without padding if it is for whole squares."""
        rows, columns = self.embedding.cells
        if rows != columns and not self.engine.takes_rectangles(graph):
            raise EmbeddingMismatchError(
                f"the image embedding has {rows} x {columns} cells, without padding, and "
                f"{self.engine.source.runtime} takes whole squares only: encode the image again"
            )
        return self.run(graph, feed)
