"""Made images, one question for each verb, and a digest that tells answers apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.pages import ROOT
from samclip_sdk import ImageEmbedding, SamClip

TINY_BUNDLE = str(ROOT / "tests" / "bundles" / "samclip-tiny")

LABELS = ("dog", "apple", "sky")
_SHAPES = 6
_NOT_COMPARED = {"speed", "origin"}  # how long it took, and where pixels may be read again


def load_exact(model: str) -> SamClip:
    """A model that computes each sum in one order, and keeps nothing on the disk."""
    return SamClip.load("onnx", model=model, precision="fp32", threads=1, text_cache=False)


def make_image(index: int, *, seed: int, size: tuple[int, int] = (128, 96)) -> Image.Image:
    """Coloured shapes; of a seed, the image of an index is always the same, and like no other."""
    generator = np.random.default_rng([seed, index])
    image = Image.new("RGB", size, tuple(generator.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for number in range(_SHAPES):
        corners = np.sort(generator.uniform(0, 1, (2, 2)), axis=0) * size
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape(corners.ravel().tolist(), fill=tuple(generator.integers(0, 256, 3).tolist()))
    return image


def write_images(folder: Path, count: int, *, seed: int, size: tuple[int, int] = (128, 96)) -> None:
    """Writes PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        make_image(index, seed=seed, size=size).save(folder / f"{index:06d}.png")


@dataclass(frozen=True)
class Subject:
    """An image uint8 [H,W,3], also after the backbone, and a text of its own.

    The backbone has run on it, so that most calls meet where threads share most.
    """

    pixels: NDArray[np.uint8]
    image: ImageEmbedding
    text: str


def make_subjects(model: SamClip, *, images: int, seed: int) -> list[Subject]:
    """Images that differ, after the model's backbone."""
    found = []
    for index in range(images):
        size = (128 - 8 * (index % 4), 80 + 4 * index)  # of its own
        pixels = np.asarray(make_image(index, seed=seed, size=size))
        found.append(Subject(pixels, model.encode_image(pixels), f"image {index}"))
    return found


def _box(subject: Subject) -> list[int]:
    height, width = subject.pixels.shape[:2]
    return [width // 8, height // 8, width // 2, height // 2]


_FEW: dict[str, Any] = {"threshold": 0, "max_instances": 8}

VERBS: dict[str, Callable[[SamClip, Subject], Any]] = {
    # At its own resolution, so that the backbone runs.
    "classify": lambda model, asked: model.classify(asked.pixels, LABELS),
    "embed_image": lambda model, asked: model.embed_image(asked.image),
    "embed_region": lambda model, asked: model.embed_region(asked.image, box=_box(asked)),
    "embed_text": lambda model, asked: model.embed_text([asked.text]),
    "segment": lambda model, asked: model.segment(asked.image, boxes=_box(asked)),
    "segment_text": lambda model, asked: model.segment_text(asked.image, LABELS, threshold=0),
    "instances": lambda model, asked: model.segment_instances(asked.image, LABELS, **_FEW),
    "segment_everything": lambda model, asked: model.segment_everything(
        asked.image, points_per_side=2
    ),
    "stream": lambda model, asked: list(model.stream([asked.pixels], LABELS, **_FEW)),
}
"""What is asked of a subject; presence is not asked for, so that every label is drawn."""


def digest_answer(answer: Any) -> str:
    """16 hex digits of all that an answer says."""
    digest = hashlib.sha256()
    _add(answer, digest)
    return digest.hexdigest()[:16]


def _add(value: Any, digest: Any) -> None:
    is_array = hasattr(value, "__array__")
    if is_dataclass(value) and not is_array:
        for each in fields(value):
            if each.name not in _NOT_COMPARED:
                _add(getattr(value, each.name), digest)
    elif isinstance(value, Mapping):
        _add(list(value.items()), digest)
    elif isinstance(value, Sequence) and not (is_array or isinstance(value, str)):
        for each in value:
            _add(each, digest)
    elif callable(value):  # it draws a part of the answer when asked to
        _add(value(), digest)
    else:
        array = np.asarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
