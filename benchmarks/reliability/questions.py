"""One question for each verb, and a digest that tells whether two answers are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reliability.made_pictures import make_pixels
from samclip_sdk import ImageEmbedding, SamClip

VERBS = (
    *("classify", "embed_image", "embed_region", "embed_text", "segment"),
    *("segment_text", "instances", "segment_everything", "stream"),
)
"""`instances` is `segment_text(..., instances=True)`."""

LABELS = ("dog", "apple", "sky")
_NOT_COMPARED = {"speed", "picture"}  # how long it took, and where pixels may be read again


@dataclass(frozen=True)
class Subject:
    """A picture uint8 [H,W,3], also after the backbone, and a text of its own.

    The backbone has run on it, so that most calls meet where threads share most.
    """

    pixels: NDArray[np.uint8]
    image: ImageEmbedding
    text: str


def make_subjects(model: SamClip, *, pictures: int, seed: int) -> list[Subject]:
    """Pictures that differ, after the model's backbone."""
    return [
        Subject(pixels, model.encode_image(pixels), f"picture {index}")
        for index, pixels in enumerate(make_pixels(pictures, seed=seed))
    ]


def ask(model: SamClip, verb: str, subject: Subject) -> Any:
    """What a verb answers; presence is not asked for, so that every label is drawn."""
    image, (height, width) = subject.image, subject.pixels.shape[:2]
    box = [width // 8, height // 8, width // 2, height // 2]
    match verb:
        case "classify":  # at its own resolution, so that the backbone runs
            return model.classify(subject.pixels, LABELS)
        case "embed_image":
            return model.embed_image(image)
        case "embed_region":
            return model.embed_region(image, box=box)
        case "embed_text":
            return model.embed_text([subject.text])
        case "segment":
            return model.segment(image, boxes=box)
        case "segment_text":
            return model.segment_text(image, LABELS, threshold=0)
        case "instances":
            return model.segment_text(image, LABELS, threshold=0, instances=True, max_instances=8)
        case "segment_everything":
            return model.segment_everything(image, points_per_side=2)
        case "stream":
            return list(model.stream([subject.pixels], LABELS, threshold=0, max_instances=8))
    raise ValueError(f"there is no verb {verb}: {', '.join(VERBS)}")


def digest_answer(answer: Any) -> str:
    """16 hex digits of all that an answer says."""
    digest = hashlib.sha256()
    _add(answer, digest)
    return digest.hexdigest()[:16]


def _add(value: Any, digest: Any) -> None:
    if is_dataclass(value) and not hasattr(value, "__array__"):
        for each in fields(value):
            if each.name not in _NOT_COMPARED:
                _add(getattr(value, each.name), digest)
    elif isinstance(value, Sequence) and not isinstance(value, str) and _is_ragged(value):
        for each in value:
            _add(each, digest)
    else:
        array = np.asarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())


def _is_ragged(value: Sequence[Any]) -> bool:
    return not hasattr(value, "__array__")
