"""Iterators that use what they yield again, or close it, as cameras, archives and `with` do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

Frames = list[np.ndarray]
SEQUENCES = {
    "webp": {"lossless": True},
    "tiff": {"compression": "tiff_deflate"},
    "gif": {},
    "png": {},
}


def refilled_array(frames: Frames, folder: Path) -> Iterator[object]:
    array = np.empty_like(frames[0])
    for frame in frames:
        array[:] = frame
        yield array


def pasted_image(frames: Frames, folder: Path) -> Iterator[object]:
    image = Image.fromarray(np.zeros_like(frames[0]))
    for frame in frames:
        image.paste(Image.fromarray(frame))
        yield image


def refilled_file(frames: Frames, folder: Path) -> Iterator[object]:
    file = io.BytesIO()
    for frame in frames:
        file.seek(0)
        file.truncate()
        file.write(encoded(frame))
        file.seek(0)
        yield file


def refilled_bytearray(frames: Frames, folder: Path) -> Iterator[object]:
    content = bytearray()
    for frame in frames:
        content[:] = encoded(frame)
        yield content


def closed_images(frames: Frames, folder: Path) -> Iterator[object]:
    for path in written(frames, folder):
        with Image.open(path) as image:
            yield image


def zip_members(frames: Frames, folder: Path) -> Iterator[object]:
    archive = folder / "frames.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in written(frames, folder):
            file.write(path, path.name)
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            with file.open(name) as member:
                yield member


def sequence(kind: str, frames: Frames, folder: Path) -> Iterator[object]:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    path = folder / f"frames.{kind}"
    first.save(path, save_all=True, append_images=rest, **SEQUENCES[kind])
    with Image.open(path) as image:
        yield from ImageSequence.Iterator(image)


REUSED: dict[str, Callable[[Frames, Path], Iterator[object]]] = {
    each.__name__: each
    for each in (
        *(refilled_array, pasted_image, refilled_file, refilled_bytearray),
        *(closed_images, zip_members),
    )
} | {kind: (lambda frames, folder, kind=kind: sequence(kind, frames, folder)) for kind in SEQUENCES}
"""Each yields images that are what they are until the next one is asked for."""


def written(frames: Frames, folder: Path) -> list[Path]:
    paths = [folder / f"frame{index}.png" for index in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        path.write_bytes(encoded(frame))
    return paths


def encoded(frame: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "PNG")
    return content.getvalue()
