"""The steps between a picture or a text and the heads' raw answers, each timed."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import contract_graphs, graph_key
from samclip_sdk.bundle.manifest import Task
from samclip_sdk.errors import EmbeddingMismatchError
from samclip_sdk.image import Frame, ImageSource, center_crop, letterbox, load_picture
from samclip_sdk.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.model_source import ModelSource
from samclip_sdk.prompts import Prompts
from samclip_sdk.session import Arrays, Session
from samclip_sdk.text import TextEmbedder, Tokenizer
from samclip_sdk.text_to_mask import Drafts, Options, label_prompts

Array = NDArray[np.float32]


class Stopwatch:
    """Milliseconds by step. A step that runs more than once adds up."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what happens inside."""
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + 1000 * (time.perf_counter() - start)


class Engine:
    """Runs a model's graphs by name; each is opened when it is first needed, and kept.

    Args:
        source: where the graphs come from.

    Attributes:
        manifest: the model's sizes, tasks, templates and thresholds.
        model_id: changes with anything that changes an output.
    """

    def __init__(self, source: ModelSource) -> None:
        self.manifest = source.manifest
        self.model_id = source.id
        self._source = source
        self._sessions: dict[str, Session] = {}
        self._text_embedder: TextEmbedder | None = None
        self._vocabulary: dict[str, Array] = {}
        resolution = self.manifest.tasks.segmentation.resolution
        graphs = contract_graphs(self.manifest.model, resolutions=[resolution])
        self._encoder = graphs[graph_key("image_encoder", resolution)]
        self._last_head: tuple[weakref.ref[ImageEmbedding], tuple[Array, Array]] | None = None

    def run(self, graph: str, feed: Arrays, *, clock: Stopwatch) -> dict[str, Array]:
        """Runs a graph, timed under its name; opening it is not counted.

        Args:
            graph: its key, such as `image_encoder@256`.
            feed: its inputs by name.
            clock: told how long the run took.

        Returns:
            Its outputs by name; all outputs of all graphs are float32.
        """
        session = self._session(graph)
        with clock.step(graph.partition("@")[0]):
            outputs = session.run(feed)
        return {name: np.asarray(value, dtype=np.float32) for name, value in outputs.items()}

    def embedding(
        self, image: ImageSource | ImageEmbedding, *, task: Task, clock: Stopwatch
    ) -> ImageEmbedding:
        """The image after the backbone; a raw one as `task` sees it.

        Raises:
            EmbeddingMismatchError: another model made the embedding.
        """
        if not isinstance(image, ImageEmbedding):
            return self.encode(image, task=task, clock=clock)
        image.check_model(self.model_id, encoder=self._encoder)
        return image

    def prepare(self, image: ImageSource, *, task: Task, clock: Stopwatch) -> PreparedImage:
        """Reads a picture and fits what `task` sees of it to the backbone; runs no graph."""
        resolution = task.resolution
        with clock.step("load_image"):
            pixels, picture = load_picture(image)
        with clock.step("preprocess"):
            if task.crop == "center_crop":
                square = center_crop(pixels, resolution=resolution)
                frame = Frame.fit(resolution, resolution, resolution=resolution)
            else:
                square, frame = letterbox(
                    pixels, resolution=resolution, pad_colour=self.manifest.image.pad_colour
                )
        return PreparedImage(square=square, frame=frame, bundle_id=self.model_id, picture=picture)

    def encode(
        self, image: ImageSource | PreparedImage, *, task: Task, clock: Stopwatch
    ) -> ImageEmbedding:
        """Runs the backbone on what `task` sees of a picture, or saw of a prepared one.

        Raises:
            EmbeddingMismatchError: the image was prepared for another model.
        """
        if not isinstance(image, PreparedImage):
            image = self.prepare(image, task=task, clock=clock)
        if image.bundle_id != self.model_id:
            raise EmbeddingMismatchError(
                f"the image was prepared for model {image.bundle_id}, this is model "
                f"{self.model_id}: prepare it again"
            )
        graph = graph_key("image_encoder", image.frame.resolution)
        encoded = self.run(graph, {"image": image.square}, clock=clock)
        return ImageEmbedding(
            image_tokens=encoded["image_tokens"],
            image_embeddings=encoded["image_embeddings"],
            frame=image.frame,
            bundle_id=self.model_id,
            speed=dict(clock.ms),
            picture=image.picture,
        )

    def clip_head(self, embedding: ImageEmbedding, *, clock: Stopwatch) -> tuple[Array, Array]:
        """Runs the CLIP head: patch_embeddings [1,h*h,E] and image_embedding [1,E].

        What it gave is kept for the embedding that it last ran on, while that lives: a picture that
        is classified and then searched for labels needs it once.
        """
        if self._last_head is not None and self._last_head[0]() is embedding:
            return self._last_head[1]
        frame = embedding.frame
        token_mask = frame.token_mask(patch_size=self.manifest.image.patch_size)
        head = self.run(
            graph_key("clip_head", frame.resolution),
            {"image_tokens": embedding.image_tokens, "token_mask": token_mask},
            clock=clock,
        )
        outputs = head["patch_embeddings"], head["image_embedding"]
        self._last_head = (weakref.ref(embedding, self._forget_head), outputs)
        return outputs

    def _forget_head(self, gone: weakref.ref[ImageEmbedding]) -> None:
        if self._last_head is not None and self._last_head[0] is gone:
            self._last_head = None

    def learn(self, labels: Sequence[str], embeddings: Array) -> None:
        """Takes the embeddings [K,E] of labels as given: they need no text encoder any more."""
        self._vocabulary.update(zip(labels, embeddings, strict=True))

    def embed_labels(self, labels: Sequence[str], *, clock: Stopwatch) -> Array:
        """Class embeddings [K,E] over the manifest's templates; each label is computed once."""
        known = dict(self._vocabulary)
        missing = [label for label in labels if label not in known]
        if missing:
            embedder = self._embedder()
            with clock.step("text_encoder"):
                known.update(zip(missing, embedder.embed_labels(missing), strict=True))
        return np.stack([known[label] for label in labels])

    def embed_texts(self, texts: Sequence[str], *, clock: Stopwatch) -> Array:
        """Embeddings [K,E] of texts as they are; each is computed once."""
        embedder = self._embedder()
        with clock.step("text_encoder"):
            return embedder.embed_texts(texts)

    def decode(
        self, image_embeddings: Array, *, prompts: Prompts, tokens: slice, clock: Stopwatch
    ) -> tuple[Array, Array]:
        """Encodes K prompts and decodes their masks, `max_prompts` of the manifest in a call.

        Args:
            image_embeddings: [1,D,g,g].
            prompts: of that image.
            tokens: which of the decoder's four mask tokens to keep.
            clock: told how long the runs took.

        Returns:
            low_res_masks [K,T,4g,4g] and iou_predictions [K,T] of the T tokens.
        """
        masks, scores = [], []
        for feed in prompts.batches(self.manifest.masks.max_prompts):
            encoded = self.run("prompt_encoder", feed, clock=clock)
            decoded = self.run(
                "mask_decoder", {"image_embeddings": image_embeddings, **encoded}, clock=clock
            )
            # A copy of what is kept: a view would hold all four tokens of a thousand prompts.
            masks.append(np.ascontiguousarray(decoded["low_res_masks"][:, tokens]))
            scores.append(decoded["iou_predictions"][:, tokens])
        return np.concatenate(masks), np.concatenate(scores)

    def refine(
        self,
        embedding: ImageEmbedding,
        maps: Array,
        *,
        labels: Sequence[str],
        options: Options,
        clock: Stopwatch,
    ) -> Drafts:
        """Asks the mask decoder for the mask of each label, with points and mask from its map.

        Args:
            embedding: of the image.
            maps: score maps [P,h,h] of labels that are in it.
            labels: their texts.
            options: how points are drawn.
            clock: told how long the steps took.

        Returns:
            The answers of mask token 0.
        """
        frame, embeddings = embedding.frame, embedding.image_embeddings
        with clock.step("prompts"):
            prompts, points = label_prompts(
                maps,
                labels=labels,
                frame=frame,
                options=options,
                mask_side=4 * embeddings.shape[-1],
            )
        low_res, scores = self.decode(embeddings, prompts=prompts, tokens=slice(0, 1), clock=clock)
        upright = [frame.to_image(each).astype(np.float32) for each in points]
        return Drafts(low_res=low_res[:, 0], scores=scores[:, 0], points=upright)

    def close(self) -> None:
        """Frees the graphs; what is needed later is opened again."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._last_head = None
        self._text_embedder = None

    def _session(self, graph: str) -> Session:
        if graph not in self._sessions:
            self._sessions[graph] = self._source.session(graph)
        return self._sessions[graph]

    def _embedder(self) -> TextEmbedder:
        if self._text_embedder is None:
            self._text_embedder = TextEmbedder(
                self._session("text_encoder"),
                tokenizer=Tokenizer(self._source.tokenizer_path),
                templates=self.manifest.text.templates,
            )
        return self._text_embedder
