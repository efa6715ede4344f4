"""What is measured: a subject, a model behind named workloads, in a process of its own.

The parent decides how often anything runs and reads the process's memory. Nothing is imported here
before a subject is made: what a worker imports counts as its subject's.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORKLOADS = ("encode", "classify", "point", "text3", "image_to_masks", "three_ways")
"""What a subject is asked to do, of one uint8 RGB image of 1024x683 in memory, fixed by seed.

encode: the image encoder that prompts need, alone, with preprocessing. classify: 1,000 labels whose
text is cached. point: one point prompt. text3: text-to-mask of three classes. These three are timed
on top of an encoded image. image_to_masks: text-to-mask of three classes from the image,
encoding included. three_ways: classify, point and text3 of one image, from the image, sharing
what the subject can share. A subject has those that it can separate.
"""

_BY_STEP = ("image_to_masks", "three_ways")

IMAGE_PX = (1024, 683)
"""Width and height."""

_PEERS = "benchmarks.speed.peers"

SUBJECTS = {
    "samclip": "benchmarks.speed.sdk_subject:SdkSubject",
    "sam+openclip": f"{_PEERS}.sam_openclip:SamOpenClip",
    "sam-onnx": f"{_PEERS}.sam_onnx:SamOnnx",
    "mobile-sam": f"{_PEERS}.mobile_sam:MobileSam",
    "clipseg": f"{_PEERS}.clipseg:ClipSeg",
    "yoloe": f"{_PEERS}.yoloe:YoloE",
}
"""Name -> the class, as "module:Class"."""

Workload = Callable[[], object]
"""Does the whole thing, and returns only when it is done."""


@dataclass(frozen=True)
class Opened:
    """A subject that is loaded and ready.

    `notes` tell what was forced or differs. `workloads` are in the order in which they are run, the
    encoder before what takes its answer: of `WORKLOADS` those that the subject can do, or others at
    several sizes, such as "image_encoder@448". Three_ways, or image_to_masks if it is not there,
    may return its milliseconds by step, which add up to the whole. With `adds_up` three_ways is the
    other four in turn, as nothing is shared but what each of them keeps for the next.
    """

    name: str
    packages: tuple[str, ...]
    notes: str
    artifact_bytes: int | None
    workloads: Mapping[str, Workload]
    precision: str = "fp32"
    adds_up: bool = False


def make_subject(spec: str) -> Any:
    """Makes a subject of what `check_spec` takes: a stable `key`, and `open`, which loads it."""
    name, options = check_spec(spec)
    module, _, attribute = SUBJECTS.get(name, name).partition(":")
    return getattr(importlib.import_module(module), attribute)(**options)


def check_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Takes a spec apart, without importing anything: its name, and the arguments that it gives.

    It is a name of `SUBJECTS`, or "module:Class", then arguments, each behind a comma:
    "samclip,model=my-bundle,precision=int8,threads=2".
    """
    name, *parts = spec.split(",")
    if name not in SUBJECTS and not re.match(r"^[\w.]+:\w+$", name):
        known = ", ".join(SUBJECTS)
        raise ValueError(f"there is no subject {name!r}: use {known}, or module:Class")
    options = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} of the subject {spec!r} is not NAME=VALUE")
        known = {"true": True, "false": False}
        options[key] = known.get(value, int(value) if value.isdecimal() else value)
    return name, options


def noise_image() -> NDArray[np.uint8]:
    """The image that every subject is asked about: noise, uint8 RGB [683,1024,3]."""
    import numpy as np

    shape = (*IMAGE_PX[::-1], 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def open_subject(spec: str) -> dict[str, Any]:
    """Makes a subject and opens it; tells what it is, and how long that took, imports too."""
    start = time.perf_counter()
    try:
        subject = make_subject(spec)
        opened = subject.open()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; peers need pip install -e '.[peers]'") from error
    open_ms, versions = 1000 * (time.perf_counter() - start), {}
    for name in opened.packages:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    _WORKLOADS.update(opened.workloads)
    told = vars(opened) | {"workloads": list(opened.workloads), "versions": versions}
    return told | {"key": subject.key, "open_ms": open_ms}


_WORKLOADS: dict[str, Workload] = {}
"""Of the subject that this process has opened."""


def run_workload(name: str) -> tuple[float, dict[str, float]]:
    """Runs a workload once; returns its milliseconds, and those of each step that is told."""
    start = time.perf_counter()
    answer = _WORKLOADS[name]()
    ms = 1000 * (time.perf_counter() - start)
    steps = answer if name in _BY_STEP and isinstance(answer, dict) else {}
    return sum(steps.values()) or ms, steps


def attempt(work: Callable[[str], Any], argument: str) -> tuple[bool, Any]:
    """Whether work went well, and what it returned or raised, in words that can be sent."""
    try:
        return True, work(argument)
    except Exception as error:  # whatever a peer may raise
        return False, f"{type(error).__name__}: {error}"


def redirect_output(said: str) -> None:
    """Has a file take what a subject prints in this process."""
    with open(said, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
