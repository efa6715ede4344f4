"""What cases are run in: a small model that is open, a picture, and a folder of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from samclip_sdk import SamClip
from tests.drawings import TINY_BUNDLE

SIZE = (96, 130)
"""Of the picture: height, width."""


class World:
    """Files go into `work`, which is also the current folder; caches lie beside it.

    Args:
        folder: empty.

    Attributes:
        folder: all that a case can write.
        work: for the files that a case is given.
        bundle: a copy of the model's bundle, which cases change and put back.
        model: samclip-tiny on onnxruntime.
        picture: uint8 [H,W,3].
        image: its embedding.
        opened: what subjects have opened, which is closed with the world.
    """

    def __init__(self, folder: Path) -> None:
        self.opened = ExitStack()
        self.folder, self.work, self.bundle = folder, folder / "work", folder / "bundle"
        self.work.mkdir()
        shutil.copytree(TINY_BUNDLE, self.bundle)
        self.model = open_tiny(self.bundle)
        noise = np.random.default_rng(0)
        self.picture = noise.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        self.image = self.model.encode_image(self.picture)

    def fresh_model(self) -> SamClip:
        """A model that was taught nothing yet."""
        return SamClip(self.model.source)


def open_tiny(bundle: Path) -> SamClip:
    """Opens a bundle on one thread, without the user's cache of texts."""
    return SamClip.load("onnx", model=bundle, threads=1, text_cache=False)


@contextmanager
def new_world() -> Iterator[World]:
    """A world in a temporary folder, which caches, temporary files and relative paths go into."""
    folder = Path(tempfile.mkdtemp(prefix="samclip-fuzz-"))
    before = {name: os.environ.get(name) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
    place, temporary = os.getcwd(), tempfile.tempdir
    try:
        os.environ.update({name: str(folder / name.lower()) for name in before})
        (folder / "tmp").mkdir()
        tempfile.tempdir = str(folder / "tmp")
        world = World(folder)
        os.chdir(world.work)
        with world.opened:
            yield world
        world.model.close()
    finally:
        os.chdir(place)
        tempfile.tempdir = temporary
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
