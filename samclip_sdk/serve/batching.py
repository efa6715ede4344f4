"""Batching in a worker: questions about one image are answered together, with the same answers.

The image is decoded and encoded once. Boxes and points of several questions go to the mask
decoder in one batch, whose size changes no mask. Questions about labels run one after the other,
because the last bits of their scores would depend on the batch. They share the encoded image and
the embeddings of labels.
"""

from __future__ import annotations

import io
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.client import SamClip
from samclip_sdk.engine.queries import EverythingQuery, InstanceQuery, TextQuery, options_of
from samclip_sdk.errors import SamClipError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.image_prompts import ImagePrompts, image_prompts
from samclip_sdk.image.limits import decoded_size
from samclip_sdk.image.loading import load_image, open_image
from samclip_sdk.image.model_prompts import FILLER
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.serve.encoding import MaskFormat, result_to_dict, to_line, to_lines
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.system.recent import Recent

Ask: TypeAlias = "Mapping[str, Any]"
"""A question: the verb under "verb", and the fields of its request in `schema`."""

MASK_BYTES = 64_000_000
"""The memory that the masks of a batch of prompts may take, a bit a pixel, before they are text."""

MAX_PROMPTS = 64
"""The number of prompts that are drawn together at most: their logits are in memory too."""


QUERIES = {"text": TextQuery, "instances": InstanceQuery, "everything": EverythingQuery}
"""The verbs about labels, and what each is asked."""


class PromptKind(NamedTuple):
    """The properties that prompts of one batch have in common."""

    points: int
    boxes: bool
    multimask_output: bool | None
    mask_threshold: float | None
    mask_format: MaskFormat


class PromptRow(NamedTuple):
    """One prompt: the index of its question, and its own among the prompts there."""

    ask_index: int
    own: int
    prompts: ImagePrompts


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, ready for its questions.

    Attributes:
        key: the sha256 of the file's content.
        content: the content of the image file.
        pixels: uint8 [H,W,3], RGB; None if no question needs them.
        prepared: the input of the image encoder; None if the image is encoded already or need not
            be.
    """

    key: str
    content: bytes
    pixels: NDArray[np.uint8] | None
    prepared: PreparedImage | None


class BatchAnswerer:
    """Answers questions with a model. One thread may prepare an image while another one answers.

    Args:
        model: the model.
        megapixels: the size of an image, at most.
        embeddings_mb: the memory for encoded images, in 10^6 bytes.
    """

    def __init__(self, model: SamClip, *, megapixels: int, embeddings_mb: int) -> None:
        self._model = model
        self._pixels = megapixels * 1_000_000
        self._embeddings: Recent[ImageEmbedding] = Recent(limit_bytes=embeddings_mb * 1_000_000)

    def prepare(self, key: str, content: bytes, *, asks: Sequence[Ask]) -> DecodedImage:
        """Decodes an image as far as its questions need it.

        Raises:
            RefusedError: the image has too many pixels; they are not decoded then.
            ImageError: the image cannot be read.
        """
        check_pixels(content, maximum=self._pixels)
        verbs = {ask["verb"] for ask in asks}
        pixels = load_image(content) if "classify" in verbs else None
        prepared = None
        if verbs - {"classify"} and not self.knows(key):
            prepared = self._model.prepare_image(content)
        return DecodedImage(key, content, pixels, prepared)

    def knows(self, key: str) -> bool:
        """Whether an image is encoded; it may be dropped before its questions are answered."""
        return self._embeddings.get(key) is not None

    def answer(
        self, image: DecodedImage, asks: Sequence[Ask]
    ) -> Iterator[tuple[int, bytes | SamClipError]]:
        """Yields the index of each question, and its answer in lines of JSON or its error."""
        segments = []
        for ask_index, ask in enumerate(asks):
            if ask["verb"] == "segment":
                segments.append(ask_index)
                continue
            try:
                yield ask_index, self._answer_one(image, ask)
            except SamClipError as error:
                yield ask_index, error
        if segments:
            yield from self._segment(image, {ask_index: asks[ask_index] for ask_index in segments})

    def _answer_one(self, image: DecodedImage, ask: Ask) -> bytes:
        if ask["verb"] == "classify":
            pixels = load_image(image.content) if image.pixels is None else image.pixels
            return to_line(self._model.classify(pixels, ask["labels"]).to_dict())
        embedding = self._embed(image)
        if ask["verb"] == "images":
            frame = embedding.frame
            return to_line({"id": image.key, "width": frame.width_px, "height": frame.height_px})
        verb = getattr(self._model, f"segment_{ask['verb']}")
        found = result_to_dict(verb(embedding, **arguments(ask)), mask_format=ask["format"])
        return to_lines(found, image_index=ask["index"]) if ask["stream"] else to_line(found)

    def _segment(
        self, image: DecodedImage, asks: Mapping[int, Ask]
    ) -> Iterator[tuple[int, bytes | SamClipError]]:
        """Draws the masks of all prompts, those of one kind together; yields indices, answers."""
        try:
            embedding = self._embed(image)
        except SamClipError as error:
            yield from ((ask_index, error) for ask_index in asks)
            return
        rows: dict[PromptKind, list[PromptRow]] = defaultdict(list)
        answers: dict[int, dict[str, Any]] = {}
        for ask_index, ask in asks.items():
            try:
                prompts = self._prompts(ask, frame=embedding.frame)
            except SamClipError as error:
                yield ask_index, error
                continue
            kind = PromptKind(
                points=prompts.points.shape[1],
                boxes=prompts.boxes is not None,
                multimask_output=_masks_of(prompts, multimask_output=ask["multimask_output"]),
                mask_threshold=ask["mask_threshold"],
                mask_format=ask["format"],
            )
            rows[kind] += [PromptRow(ask_index, index, prompts) for index in range(len(prompts))]
            answers[ask_index] = {"annotations": [], "speed": defaultdict(float)}
        for kind, of_kind in rows.items():
            at_once = self._at_once(kind, frame=embedding.frame)
            for start in range(0, len(of_kind), at_once):
                self._draw(embedding, of_kind[start : start + at_once], kind=kind, answers=answers)
        yield from ((ask_index, to_line(answer)) for ask_index, answer in answers.items())

    def _draw(
        self,
        image: ImageEmbedding,
        rows: Sequence[PromptRow],
        *,
        kind: PromptKind,
        answers: Mapping[int, dict[str, Any]],
    ) -> None:
        """Draws the masks of prompts of one kind, and adds them to the answers."""
        corners = [
            row.prompts.boxes[row.own].ravel() for row in rows if row.prompts.boxes is not None
        ]
        labels = np.stack([row.prompts.point_labels[row.own] for row in rows])
        drawn = self._model.segment(
            image,
            points=np.stack([row.prompts.points[row.own] for row in rows]) if kind.points else None,
            point_labels=np.where(labels == FILLER, -1, labels) if kind.points else None,
            boxes=np.stack(corners) if kind.boxes else None,
            multimask_output=kind.multimask_output,
            mask_threshold=kind.mask_threshold,
        )
        found = result_to_dict(drawn, mask_format=kind.mask_format)
        for annotation in found["annotations"]:
            row = rows[annotation["prompt_index"]]
            own = answers[row.ask_index]["annotations"]
            own.append({**annotation, "id": len(own) + 1, "prompt_index": row.own})
        for ask_index in {row.ask_index for row in rows}:
            answers[ask_index] |= {name: found[name] for name in ("images", "categories")}
            for step, took_ms in found["speed"].items():
                answers[ask_index]["speed"][step] += took_ms

    def _prompts(self, ask: Ask, *, frame: Frame) -> ImagePrompts:
        """The prompts of a question, checked against the image.

        Raises:
            PromptError: they do not fit the image.
        """
        prompts = image_prompts(ask["points"], point_labels=ask["point_labels"], boxes=ask["boxes"])
        prompts.in_model(frame, mask_side=self._model.manifest.mask_side(frame.resolution))
        return prompts

    def _at_once(self, kind: PromptKind, *, frame: Frame) -> int:
        """The number of prompts that are drawn together: however large their masks, they fit."""
        per_prompt = 1 if kind.multimask_output is False else 3
        fit = 8 * MASK_BYTES // (frame.height_px * frame.width_px * per_prompt)
        return max(1, min(MAX_PROMPTS, fit))

    def _embed(self, image: DecodedImage) -> ImageEmbedding:
        """The embedding of an image: the kept one, or else a new one."""
        known = self._embeddings.get(image.key)
        if known is not None:
            return known
        embedding = self._model.encode_image(image.prepared or image.content)
        held = (
            embedding.image_tokens.nbytes + embedding.image_embeddings.nbytes + len(image.content)
        )
        self._embeddings.put(image.key, embedding, size_bytes=held)
        return embedding


def check_pixels(content: bytes, *, maximum: int) -> None:
    """Refuses an image that is too large, before it is decoded.

    A file that is no image passes: decoding it raises the clearer error.

    Raises:
        RefusedError: the image, or a tile of it, has more pixels than the server takes.
    """
    try:
        with warnings.catch_warnings(), open_image(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")  # Pillow warns at a limit of its own
            width, height = decoded_size(image)
    except Exception:  # Decoding it raises the clearer error.
        return
    if width * height > maximum:
        raise RefusedError(
            f"the image, or a tile of it, has {width} x {height} pixels; this server takes "
            f"{maximum // 1_000_000} megapixels at most",
            status=413,
        )


def arguments(ask: Ask) -> dict[str, Any]:
    """The arguments of a verb about labels, as far as a server has them."""
    names = {"labels", *options_of(QUERIES[ask["verb"]])} & ask.keys()
    tiles = ask["tiles"] and tuple(ask["tiles"])
    return {"tiles": tiles, **{name: ask[name] for name in names}}


def _masks_of(prompts: ImagePrompts, *, multimask_output: bool | None) -> bool | None:
    """What `segment` is asked for, whichever prompts of other questions are drawn beside these."""
    if multimask_output is not None:
        return multimask_output
    return None if prompts.combined else prompts.ambiguous
