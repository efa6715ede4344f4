"""The walk from a picture or a text to an answer, one way down, each step timed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import contract_graphs, graph_key
from samclip_sdk.bundle.manifest import Task
from samclip_sdk.engine.graphs import OpenGraphs
from samclip_sdk.engine.options import Options
from samclip_sdk.engine.text_to_mask import (
    Drafts,
    FoundLabels,
    compose,
    find_labels,
    head_only,
    label_prompts,
    refined,
)
from samclip_sdk.engine.texts import TextEmbedder
from samclip_sdk.errors import EmbeddingMismatchError
from samclip_sdk.picture.frame import Frame, center_crop, letterbox
from samclip_sdk.picture.image import ImageSource, Picture, load_picture
from samclip_sdk.picture.image_prompts import ImagePrompts
from samclip_sdk.picture.masks import blank_masks, draw_masks, mask_to_box
from samclip_sdk.picture.prompts import Prompts
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.runtimes.session import Arrays, run_graph
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import Tokenizer

Array = NDArray[np.float32]

AnyImage: TypeAlias = "ImageSource | PreparedImage | ImageEmbedding"
"""A picture at any point of its way to the heads."""


class HeadOutputs(NamedTuple):
    """What the CLIP head gave: patch_embeddings [1,h*h,E] and image_embedding [1,E]."""

    patch_embeddings: Array
    image_embedding: Array


class Engine:
    """Runs a model's graphs by name, and walks through them from a picture to an answer.

    Any number of threads may use one engine.

    Args:
        source: where the graphs come from.
        stored_labels: where the class embeddings of labels outlive the process; nowhere if None,
            so that the text encoder runs once for each label in each process.

    Attributes:
        source: as given.
        manifest: the model's sizes, tasks, templates and thresholds.
        texts: embeds texts and labels.
    """

    def __init__(self, source: ModelSource, *, stored_labels: StoredLabels | None = None) -> None:
        self.source = source
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
            stored=stored_labels,
        )
        self._last_head: tuple[weakref.ref[ImageEmbedding], HeadOutputs] | None = None

    def run(self, graph: str, feed: Arrays, *, clock: Stopwatch) -> dict[str, Array]:
        """Runs a graph, timed under its name; opening it is not counted.

        Args:
            graph: its key, such as `image_encoder@256`.
            feed: its inputs by name.
            clock: told how long the run took.

        Returns:
            Its outputs by name; all outputs of all graphs are float32.

        Raises:
            RunError: the runtime failed.
            VerificationError: an output holds NaN or infinity.
        """
        session = self._graphs.session(graph)
        with clock.step(graph.partition("@")[0]):
            return run_graph(session, feed, graph=graph)

    def prepare(self, image: ImageSource, *, task: Task, clock: Stopwatch) -> PreparedImage:
        """Reads a picture and fits what `task` sees of it to the backbone; runs no graph."""
        with clock.step("load_image"):
            pixels, picture = load_picture(image)
        return self.fit(pixels, picture=picture, task=task, clock=clock)

    def fit(
        self, pixels: NDArray[np.uint8], *, picture: Picture | None, task: Task, clock: Stopwatch
    ) -> PreparedImage:
        """Fits what `task` sees of pixels [H,W,3], read from `picture`, to the backbone."""
        resolution = task.resolution
        with clock.step("preprocess"):
            if task.crop == "center_crop":
                square = center_crop(pixels, resolution=resolution)
                frame = Frame.fit(resolution, resolution, resolution=resolution)
            else:
                square, frame = letterbox(
                    pixels, resolution=resolution, pad_colour=self.manifest.image.pad_colour
                )
        return PreparedImage(square=square, frame=frame, bundle_id=self.source.id, picture=picture)

    def admit(
        self, image: AnyImage, *, task: Task, clock: Stopwatch
    ) -> PreparedImage | ImageEmbedding:
        """An image that is ready for the backbone, or has it behind; a raw one as `task` sees it.

        Raises:
            EmbeddingMismatchError: it was made for or by another model.
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
        """The image after the backbone, which runs unless it has run; a raw one as `task` sees it.

        Raises:
            EmbeddingMismatchError: the image was made for or by another model.
        """
        admitted = self.admit(image, task=task, clock=clock)
        if isinstance(admitted, ImageEmbedding):
            return admitted
        graph = graph_key("image_encoder", admitted.frame.resolution)
        encoded = self.run(graph, {"image": admitted.square}, clock=clock)
        return ImageEmbedding(
            image_tokens=encoded["image_tokens"],
            image_embeddings=encoded["image_embeddings"],
            frame=admitted.frame,
            bundle_id=self.source.id,
            speed=dict(clock.ms),
            picture=admitted.picture,
        )

    def embed_image(self, image: AnyImage, *, clock: Stopwatch) -> Array:
        """The image in CLIP's joint space, [E]; see `encode`."""
        embedding = self.encode(image, task=self.manifest.tasks.classification, clock=clock)
        return np.array(self._clip_head(embedding, clock=clock).image_embedding[0])

    def classify(
        self, image: AnyImage, *, labels: Sequence[str], clock: Stopwatch
    ) -> Classification:
        """Compares an image with labels, from `check_labels`; see `encode`."""
        text = self.texts.embed_labels(labels, clock=clock)
        embedding = self.encode(image, task=self.manifest.tasks.classification, clock=clock)
        cosines = text @ self._clip_head(embedding, clock=clock).image_embedding[0]
        logits = (self.manifest.text.logit_scale * cosines).astype(np.float32)
        odds = np.exp(logits - logits.max())
        return Classification(
            labels=labels,
            probs=odds / odds.sum(),
            logits=logits,
            speed=clock.ms,
            picture=embedding.picture,
        )

    def segment(
        self,
        image: AnyImage,
        *,
        prompts: ImagePrompts,
        multimask_output: bool,
        mask_threshold: float,
        clock: Stopwatch,
    ) -> Masks:
        """Draws the masks of prompts, one or three for each; see `encode`.

        Raises:
            PromptError: a prompt does not fit the image, or all masks do not fit the memory; the
                backbone has not run then.
        """
        task = self.manifest.tasks.segmentation
        admitted = self.admit(image, task=task, clock=clock)
        frame = admitted.frame
        asked = prompts.in_model(frame, mask_side=self.mask_side(frame))
        tokens = slice(1, 4) if multimask_output else slice(0, 1)
        per_prompt = tokens.stop - tokens.start
        masks = blank_masks(len(asked) * per_prompt, frame=frame)
        embedding = self.encode(admitted, task=task, clock=clock)
        low_res, scores = self.decode(embedding, prompts=asked, tokens=tokens, clock=clock)
        low_res = low_res.reshape(-1, *low_res.shape[2:])
        with clock.step("postprocess"):
            draw_masks(low_res, masks=masks, frame=frame, mask_threshold=mask_threshold)
            boxes = np.stack([mask_to_box(mask) for mask in masks])
        return Masks(
            masks=masks,
            scores=scores.reshape(-1),
            low_res_masks=low_res,
            boxes=boxes,
            prompt_index=np.repeat(np.arange(len(asked), dtype=np.int32), per_prompt),
            speed=clock.ms,
            picture=embedding.picture,
        )

    def segment_text(
        self, image: AnyImage, *, labels: Sequence[str], options: Options, clock: Stopwatch
    ) -> TextMasks:
        """Finds labels, from `check_labels`, and draws their masks; see `encode`."""
        text = self.texts.embed_labels(labels, clock=clock)
        embedding = self.encode(image, task=self.manifest.tasks.segmentation, clock=clock)
        found, drafts = self._draft(embedding, text=text, options=options, clock=clock)
        with clock.step("postprocess"):
            result = compose(
                drafts,
                found=found,
                labels=labels,
                frame=embedding.frame,
                mask_threshold=options.mask_threshold,
                speed=clock.ms,
                picture=embedding.picture,
            )
        return result

    def _draft(
        self, embedding: ImageEmbedding, *, text: Array, options: Options, clock: Stopwatch
    ) -> tuple[FoundLabels, Drafts]:
        """Where labels are, by their embeddings [K,E], and the masks of those that are there."""
        head, frame = self._clip_head(embedding, clock=clock), embedding.frame
        calibration = self.manifest.calibration
        found = find_labels(
            head.patch_embeddings,
            text_embeddings=text,
            frame=frame,
            calibration=calibration,
            threshold=options.presence_threshold,
        )
        if not (options.refine and len(found.present)):
            return found, head_only(found, frame=frame)
        with clock.step("prompts"):
            asked = label_prompts(
                found,
                frame=frame,
                options=options,
                calibration=calibration,
                mask_side=self.mask_side(frame),
            )
        decoded = self.decode(embedding, prompts=asked.prompts, tokens=slice(0, 1), clock=clock)
        return found, refined(
            *decoded,
            asked=asked,
            frame=frame,
            calibration=calibration,
            mask_threshold=options.mask_threshold,
        )

    def decode(
        self, embedding: ImageEmbedding, *, prompts: Prompts, tokens: slice, clock: Stopwatch
    ) -> tuple[Array, Array]:
        """Encodes K prompts and decodes their masks, `max_prompts` of the manifest in a call.

        Args:
            embedding: of the image.
            prompts: of that image.
            tokens: which of the decoder's four mask tokens to keep.
            clock: told how long the runs took.

        Returns:
            low_res_masks [K,T,4g,4g] and iou_predictions [K,T] of the T tokens.
        """
        masks, scores = [], []
        for low_res, iou_predictions in self._decode_in_turn(embedding, prompts, clock=clock):
            # A copy of what is kept: a view would hold all four tokens of a thousand prompts.
            masks.append(np.ascontiguousarray(low_res[:, tokens]))
            scores.append(iou_predictions[:, tokens])
        return np.concatenate(masks), np.concatenate(scores)

    def _decode_in_turn(
        self, embedding: ImageEmbedding, prompts: Prompts, *, clock: Stopwatch
    ) -> Iterator[tuple[Array, Array]]:
        """Decodes `max_prompts` at a time: low_res_masks [k,4,4g,4g], iou_predictions [k,4]."""
        image = {"image_embeddings": embedding.image_embeddings}
        for feed in prompts.batches(self.manifest.masks.max_prompts):
            encoded = self.run("prompt_encoder", feed, clock=clock)
            decoded = self.run("mask_decoder", {**image, **encoded}, clock=clock)
            yield decoded["low_res_masks"], decoded["iou_predictions"]

    def close(self) -> None:
        """Frees the graphs; what is needed later is opened again."""
        self._graphs.close()
        self._last_head = None

    def _clip_head(self, embedding: ImageEmbedding, *, clock: Stopwatch) -> HeadOutputs:
        """Runs the CLIP head.

        What it gave is kept for the embedding that it last ran on, while that lives: a picture that
        is classified and then searched for labels needs it once.
        """
        last = self._last_head  # one look: another thread may replace it at any moment
        if last is not None and last[0]() is embedding:
            return last[1]
        frame = embedding.frame
        token_mask = frame.token_mask(patch_size=self.manifest.image.patch_size)
        head = self.run(
            graph_key("clip_head", frame.resolution),
            {"image_tokens": embedding.image_tokens, "token_mask": token_mask},
            clock=clock,
        )
        outputs = HeadOutputs(head["patch_embeddings"], head["image_embedding"])
        self._last_head = (weakref.ref(embedding, self._forget_head), outputs)
        return outputs

    def _forget_head(self, gone: weakref.ref[ImageEmbedding]) -> None:
        last = self._last_head
        if last is not None and last[0] is gone:
            self._last_head = None

    def mask_side(self, frame: Frame) -> int:
        """4g, the side of mask prompts and of low-resolution masks."""
        return 4 * frame.resolution // self.manifest.image.patch_size
