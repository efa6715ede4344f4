"""The workloads of a benchmark: the image encoder, each of the three skills, and all of them.

The cost of a skill must not depend on the content of the image. So the presence threshold is set
such that a fixed number of labels is present. The mask threshold is set such that every mask fills
the image, which makes upscaling the masks as expensive as it can be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine import classify, segment, text_to_mask
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import ClassifyQuery, PromptQuery, TextQuery
from samclip_sdk.engine.texts import TextEmbedder
from samclip_sdk.errors import OptionError
from samclip_sdk.image.loading import ImageSource, load_image
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.system.timing import Stopwatch, elapsed_ms
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.unit_length import normalize

CLASSES = 1000
PRESENT = ("dog", "grass", "sky")
MAX_LABELS = 150

_ALL_ABOVE = -1e6  # a mask threshold, in logits


def check_label_count(count: int) -> None:
    """Refuses a number of labels that is out of range.

    Raises:
        OptionError: the message has the number and the limits.
    """
    if not len(PRESENT) <= count <= MAX_LABELS:
        raise OptionError(f"label_count is {count}; it must be from {len(PRESENT)} to {MAX_LABELS}")


class Workloads:
    """The workloads on one image; each can run any number of times.

    `classify`, `point` and `text3` use the embedding of the last `encode`. The text encoder runs
    for the three labels of `PRESENT` only, at their first use. The embeddings of all other labels
    are random and given in advance, as a vocabulary pack would. For a model without a text encoder
    all of them are given.

    Args:
        engine: the model's engine.
        image: the input image.
        label_count: the number of labels given to text-to-mask, from 3 to `MAX_LABELS`; 3 of them
            are present. If it is more than 3, the first `text3` also finds the third highest
            presence.
        text_encoder: whether the model has a text encoder.

    Raises:
        OptionError: the number of labels is out of range.
        ImageError: the image cannot be used.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        image: ImageSource,
        label_count: int = len(PRESENT),
        text_encoder: bool = True,
    ) -> None:
        check_label_count(label_count)
        self._engine = engine
        self._image = image
        self._classes = (*PRESENT, *(f"label {index}" for index in range(len(PRESENT), CLASSES)))
        self._every_class = ClassifyQuery(labels=self._classes)
        self._labels = self._classes[:label_count]
        self._embedding: ImageEmbedding | None = None
        self._new_texts = count()
        height, width = load_image(image).shape[:2]
        self._point = PromptQuery(
            points=[[width / 2, height / 2]], multimask_output=False, mask_threshold=_ALL_ABOVE
        )
        self._give_texts(self._classes[len(PRESENT) if text_encoder else 0 :])

    def by_name(self) -> Mapping[str, Callable[[], object]]:
        """The workloads, in the order in which they should first run."""
        return {
            "encode": self.encode,
            "classify": self.classify,
            "point": self.point,
            "text3": self.text3,
            "three_ways": self.three_ways,
        }

    def encode(self) -> ImageEmbedding:
        """Runs the image encoder on the image, preprocessing included."""
        self._embedding = Pass(self._engine, self._image).embedding
        return self._embedding

    def classify(self) -> Classification:
        """Classifies the encoded image among 1,000 labels."""
        return self._classify(self._encoded, self._every_class)

    def point(self) -> Masks:
        """Segments the object in the middle of the encoded image: one point, one mask."""
        return self._segment(self._encoded)

    def text3(self) -> TextMasks:
        """Segments the labels in the encoded image; three are present."""
        return self._segment_text(self._encoded, threshold=self._threshold)

    def three_ways(self) -> tuple[ImageEmbedding, Classification, Masks, TextMasks]:
        """Encodes the image once, then runs all three skills."""
        image = self.encode()
        return (
            image,
            self._classify(image, self._every_class),
            self._segment(image),
            self._segment_text(image, threshold=self._threshold),
        )

    def new_text(self) -> NDArray[np.float32]:
        """Embeds a text that was never given before: the text encoder runs once."""
        return self._engine.texts.embed_texts(
            [f"a photo of object {next(self._new_texts)}"], clock=Stopwatch()
        )

    def new_label_ms(self) -> float:
        """Milliseconds of the text encoder for a label that was never given before."""
        label = f"object {next(self._new_texts)}"
        return self._classify(self._encoded, ClassifyQuery(labels=[label])).speed["text_encoder"]

    @contextmanager
    def stored_label(self) -> Iterator[Callable[[], object]]:
        """Stores a label on the disk; yields a function that reads it as a new process would."""
        manifest = self._engine.manifest
        embedding = np.zeros(manifest.model.embed_dim, dtype=np.float32)
        with tempfile.TemporaryDirectory() as folder:
            stored = StoredLabels((), folder=Path(folder))
            stored.put(PRESENT[0], embedding)
            yield lambda: _read_label(stored, templates=manifest.text.templates)

    @property
    def _encoded(self) -> ImageEmbedding:
        """A fresh copy of the encoded image, because the model caches the CLIP head's outputs."""
        return replace(self._embedding or self.encode())

    @cached_property
    def _threshold(self) -> float:
        """The presence threshold at which three labels are present."""
        if len(self._labels) == len(PRESENT):
            return 0.0
        found = self._segment_text(self._encoded, threshold=1.0, refine=False)
        return float(np.sort(found.asked.presence)[-len(PRESENT)])

    def _classify(self, image: ImageEmbedding, query: ClassifyQuery) -> Classification:
        return classify.classify(Pass(self._engine, image), query)

    def _segment(self, image: ImageEmbedding) -> Masks:
        return segment.segment(Pass(self._engine, image), self._point)

    def _segment_text(
        self, image: ImageEmbedding, *, threshold: float, refine: bool = True
    ) -> TextMasks:
        query = TextQuery(
            labels=self._labels, threshold=threshold, mask_threshold=_ALL_ABOVE, refine=refine
        )
        return text_to_mask.segment_text(Pass(self._engine, image), query)

    def _give_texts(self, labels: tuple[str, ...]) -> None:
        manifest = self._engine.manifest
        embeddings = np.random.default_rng(0).standard_normal(
            (len(labels), manifest.model.embed_dim), dtype=np.float32
        )
        self._engine.texts.learn(labels, normalize(embeddings))


def _read_label(stored: StoredLabels, *, templates: Sequence[str]) -> NDArray[np.float32]:
    """Reads a label from the disk; a fresh embedder has no labels in memory."""
    embedder = TextEmbedder(_not_needed, tokenizer=_not_needed, templates=templates, stored=stored)
    return embedder.own_embeddings(PRESENT[:1], clock=Stopwatch())


def _not_needed() -> NoReturn:
    raise AssertionError("a label that is on the disk needs no text encoder")


def steps_ms(workloads: Workloads) -> dict[str, float]:
    """Runs `three_ways` once; returns milliseconds by step, `other` for the rest of the time."""
    results: list[ImageEmbedding | Classification | Masks | TextMasks] = []
    total = elapsed_ms(lambda: results.extend(workloads.three_ways()))
    steps: dict[str, float] = {}
    for result in results:
        for step, ms in result.speed.items():
            steps[step] = steps.get(step, 0.0) + ms
    return {**steps, "other": total - sum(steps.values())}
