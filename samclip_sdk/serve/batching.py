"""Batching in a worker: questions about one picture are answered together, with the same answers.

The picture is decoded and encoded once. Boxes and points of several questions go to the mask
decoder in one batch, whose size changes no mask. Questions about labels run one after the other,
because the last bits of their scores would depend on the batch. They share the encoded picture and
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
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.image import load_image, open_image
from samclip_sdk.picture.image_prompts import ImagePrompts, image_prompts
from samclip_sdk.picture.limits import decoded_size
from samclip_sdk.picture.model_prompts import FILLER
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.serve.encoding import MaskFormat, result_to_dict, to_line, to_lines
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.system.recent import Recent

Ask: TypeAlias = "Mapping[str, Any]"
"""A question: the verb under "verb", and the fields of its request in `schema`."""

MASK_BYTES = 64_000_000
"""The memory that the masks of a batch of prompts may take, a bit a pixel, before they are text."""

MOST_PROMPTS = 64
"""The number of prompts that are drawn together at most: their logits are in memory too."""


QUERIES = {"text": TextQuery, "instances": InstanceQuery, "everything": EverythingQuery}
"""The verbs about labels, and what each is asked."""


class PromptKind(NamedTuple):
    """The properties that prompts of one batch have in common."""

    points: int
    boxes: bool
    multimask_output: bool | None
    mask_threshold: float | None
    form: MaskFormat


class PromptRow(NamedTuple):
    """One prompt: the place of its question, and its own place among the prompts there."""

    place: int
    own: int
    prompts: ImagePrompts


@dataclass(frozen=True)
class DecodedPicture:
    """A decoded picture, ready for its questions.

    Attributes:
        key: the sha256 of the file's content.
        content: the content of the picture file.
        pixels: uint8 [H,W,3], RGB; None if no question needs them.
        prepared: the input of the image encoder; None if the picture is encoded already or need not
            be.
    """

    key: str
    content: bytes
    pixels: NDArray[np.uint8] | None
    prepared: PreparedImage | None


class BatchAnswerer:
    """Answers questions with a model. One thread may prepare a picture while another one answers.

    Args:
        model: the model.
        megapixels: the size of a picture, at most.
        embeddings_mb: the memory for encoded pictures, in 10^6 bytes.
    """

    def __init__(self, model: SamClip, *, megapixels: int, embeddings_mb: int) -> None:
        self._model = model
        self._pixels = megapixels * 1_000_000
        self._embeddings: Recent[ImageEmbedding] = Recent(limit_bytes=embeddings_mb * 1_000_000)

    def prepare(self, key: str, content: bytes, *, asks: Sequence[Ask]) -> DecodedPicture:
        """Decodes a picture as far as its questions need it.

        Raises:
            RefusedError: the picture has too many pixels; they are not decoded then.
            ImageError: the picture cannot be read.
        """
        check_pixels(content, most=self._pixels)
        verbs = {ask["verb"] for ask in asks}
        pixels = load_image(content) if "classify" in verbs else None
        prepared = None
        if verbs - {"classify"} and not self.knows(key):
            prepared = self._model.prepare_image(content)
        return DecodedPicture(key, content, pixels, prepared)

    def knows(self, key: str) -> bool:
        """Whether a picture is encoded; it may be dropped before its questions are answered."""
        return self._embeddings.get(key) is not None

    def answer(
        self, picture: DecodedPicture, asks: Sequence[Ask]
    ) -> Iterator[tuple[int, bytes | SamClipError]]:
        """Yields the place of each question, and its answer in lines of JSON or its error."""
        segments = []
        for place, ask in enumerate(asks):
            if ask["verb"] == "segment":
                segments.append(place)
                continue
            try:
                yield place, self._answer_one(picture, ask)
            except SamClipError as error:
                yield place, error
        if segments:
            yield from self._segment(picture, {place: asks[place] for place in segments})

    def _answer_one(self, picture: DecodedPicture, ask: Ask) -> bytes:
        if ask["verb"] == "classify":
            pixels = load_image(picture.content) if picture.pixels is None else picture.pixels
            return to_line(self._model.classify(pixels, ask["labels"]).to_dict())
        image = self._embed(picture)
        if ask["verb"] == "images":
            frame = image.frame
            return to_line({"id": picture.key, "width": frame.width_px, "height": frame.height_px})
        verb = getattr(self._model, f"segment_{ask['verb']}")
        found = result_to_dict(verb(image, **arguments(ask)), form=ask["format"])
        return to_lines(found, image_index=ask["index"]) if ask["stream"] else to_line(found)

    def _segment(
        self, picture: DecodedPicture, asks: Mapping[int, Ask]
    ) -> Iterator[tuple[int, bytes | SamClipError]]:
        """Draws the masks of all prompts, those of one kind together; yields places and answers."""
        try:
            image = self._embed(picture)
        except SamClipError as error:
            yield from ((place, error) for place in asks)
            return
        rows: dict[PromptKind, list[PromptRow]] = defaultdict(list)
        answers: dict[int, dict[str, Any]] = {}
        for place, ask in asks.items():
            try:
                prompts = self._prompts(ask, frame=image.frame)
            except SamClipError as error:
                yield place, error
                continue
            kind = PromptKind(
                points=prompts.points.shape[1],
                boxes=prompts.boxes is not None,
                multimask_output=_masks_of(prompts, asked=ask["multimask_output"]),
                mask_threshold=ask["mask_threshold"],
                form=ask["format"],
            )
            rows[kind] += [PromptRow(place, index, prompts) for index in range(len(prompts))]
            answers[place] = {"annotations": [], "speed": defaultdict(float)}
        for kind, of_kind in rows.items():
            at_once = self._at_once(kind, frame=image.frame)
            for start in range(0, len(of_kind), at_once):
                self._draw(image, of_kind[start : start + at_once], kind=kind, answers=answers)
        yield from ((place, to_line(answer)) for place, answer in answers.items())

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
        found = result_to_dict(drawn, form=kind.form)
        for annotation in found["annotations"]:
            row = rows[annotation["prompt_index"]]
            own = answers[row.place]["annotations"]
            own.append({**annotation, "id": len(own) + 1, "prompt_index": row.own})
        for place in {row.place for row in rows}:
            answers[place] |= {name: found[name] for name in ("images", "categories")}
            for step, took_ms in found["speed"].items():
                answers[place]["speed"][step] += took_ms

    def _prompts(self, ask: Ask, *, frame: Frame) -> ImagePrompts:
        """The prompts of a question, checked against the picture.

        Raises:
            PromptError: they do not fit the picture.
        """
        prompts = image_prompts(ask["points"], point_labels=ask["point_labels"], boxes=ask["boxes"])
        prompts.in_model(frame, mask_side=self._model.manifest.mask_side(frame.resolution))
        return prompts

    def _at_once(self, kind: PromptKind, *, frame: Frame) -> int:
        """The number of prompts that are drawn together: however large their masks, they fit."""
        per_prompt = 1 if kind.multimask_output is False else 3
        fit = 8 * MASK_BYTES // (frame.height_px * frame.width_px * per_prompt)
        return max(1, min(MOST_PROMPTS, fit))

    def _embed(self, picture: DecodedPicture) -> ImageEmbedding:
        """The embedding of a picture: the kept one, or else a new one."""
        known = self._embeddings.get(picture.key)
        if known is not None:
            return known
        image = self._model.encode_image(picture.prepared or picture.content)
        held = image.image_tokens.nbytes + image.image_embeddings.nbytes + len(picture.content)
        self._embeddings.put(picture.key, image, size_bytes=held)
        return image


def check_pixels(content: bytes, *, most: int) -> None:
    """Refuses a picture that is too large, before it is decoded.

    A file that is no picture passes: decoding it raises the clearer error.

    Raises:
        RefusedError: the picture, or a tile of it, has more pixels than the server takes.
    """
    try:
        with warnings.catch_warnings(), open_image(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")  # Pillow warns at a limit of its own
            width, height = decoded_size(image)
    except Exception:  # Decoding it raises the clearer error.
        return
    if width * height > most:
        raise RefusedError(
            f"the picture, or a tile of it, has {width} x {height} pixels; this server takes "
            f"{most // 1_000_000} megapixels at most",
            status=413,
        )


def arguments(ask: Ask) -> dict[str, Any]:
    """The arguments of a verb about labels, as far as a server has them."""
    names = {"labels", *options_of(QUERIES[ask["verb"]])} & ask.keys()
    tiles = ask["tiles"] and tuple(ask["tiles"])
    return {"tiles": tiles, **{name: ask[name] for name in names}}


def _masks_of(prompts: ImagePrompts, *, asked: bool | None) -> bool | None:
    """What `segment` is asked for, whichever prompts of other questions are drawn beside these."""
    if asked is not None:
        return asked
    return None if prompts.combined else prompts.ambiguous
