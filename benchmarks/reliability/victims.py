"""The commands that are killed: small models and short work, but every step of the real one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pages import ROOT
from benchmarks.reliability.questions import LABELS, TINY_BUNDLE, make_image, write_images
from samclip_sdk.engine.video.film_writer import FilmWriter

SEED = 0

REPOSITORY = "org/killed"

_PAUSE_S = 0.005
_IMAGES = 60
_FRAMES = 40
_TRAINING = (
    *("scenes.batch=1", "scenes.prompts=2", "optimisation.steps=8", "optimisation.workers=0"),
    *("optimisation.threads=1", "optimisation.checkpoint_minutes=1e-9"),
)


@dataclass(frozen=True)
class Victim:
    """A command to be killed, which writes below its own folder only.

    `make_inputs` writes what it reads into a folder, once; `arguments` are the command line after
    `python`, of that folder. `around` goes on meanwhile, and yields more of its environment.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    make_inputs: Callable[[Path], None] = lambda inputs: None
    around: Callable[[], AbstractContextManager[dict[str, str]]] = lambda: nullcontext({})


_LOADS = f"""
from samclip_sdk import SamClip
with SamClip.load("onnx", model="{REPOSITORY}", precision="fp32", threads=1) as model:
    model.classify({str(ROOT / "examples/images/dog.jpg")!r}, {LABELS!r})
"""


def _zipped_bundle(inputs: Path) -> None:
    """As a .zip, which is unpacked into the cache."""
    shutil.make_archive(str(inputs / "bundle"), "zip", TINY_BUNDLE)


def _images(inputs: Path) -> None:
    _zipped_bundle(inputs)
    write_images(inputs / "images", _IMAGES, seed=SEED)


def _film(inputs: Path) -> None:
    _zipped_bundle(inputs)
    pixels = np.asarray(make_image(0, seed=SEED))
    with FilmWriter(inputs / "film.mp4") as film:
        for frame in range(_FRAMES):
            film.add(np.roll(pixels, frame, axis=1))


def _samclip(verb: str, source: Path, *more: str, inputs: Path) -> list[str]:
    model = ("--model", str(inputs / "bundle.zip"), "--runtime", "onnx", "--threads", "1")
    return ["-m", "samclip_sdk", verb, str(source), *LABELS, *model, "--threshold", "0", *more]


@contextmanager
def slow_hub() -> Iterator[dict[str, str]]:
    """The tests' hub, with a bundle as `REPOSITORY`; yields the environment in which it is it.

    It sends slowly, so that a download takes long enough to be killed in the middle.
    """
    # Only here: none of the other commands needs the tests.
    from tests.bundle.hub.server import HubServer, bundle_files

    with HubServer() as hub:
        hub.commit(REPOSITORY, bundle_files(Path(TINY_BUNDLE)))
        hub.faults.slow_s = _PAUSE_S
        yield {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}


VICTIMS = (
    Victim(
        "export",
        # int8: its ranges are measured by way of temporary files.
        lambda inputs: ["-m", "export", "random:tiny", "bundle", "--onnx", "int8"],
    ),
    Victim(
        "annotate",
        lambda inputs: _samclip(
            *("annotate", inputs / "images", "--output", "annotations.json"), inputs=inputs
        ),
        make_inputs=_images,
    ),
    Victim(
        "train",
        lambda inputs: [
            *("-m", "training", "sam_teacher", "--runs", "runs", "--accelerator", "cpu"),
            *(word for setting in _TRAINING for word in ("--set", setting)),
        ],
    ),
    Victim(
        "video",
        lambda inputs: _samclip(
            *("video", inputs / "film.mp4", "--output", "out.mp4", "--output", "out.json"),
            inputs=inputs,
        ),
        make_inputs=_film,
    ),
    Victim("download", lambda inputs: ["-c", _LOADS], around=slow_hub),
)
