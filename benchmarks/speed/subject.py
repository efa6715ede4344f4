"""What is measured: a subject, a model behind named workloads, and how one is named on a command.

Nothing is imported before a subject is made: workers import this module, and what they import
counts as their subject's.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORKLOADS = ("encode", "classify", "point", "text3", "three_ways")
"""What a subject is asked to do, of one uint8 RGB picture of 1024x683 in memory, fixed by seed.

encode: the image encoder that prompts need, alone, with preprocessing. classify: 1,000 labels whose
text is cached. point: one point prompt. text3: text-to-mask of three classes. three_ways: all three
of one picture, from the picture, sharing what the subject can share. classify, point and text3 are
timed on top of an encoded picture where the subject can separate them; its notes say where not.
"""

PICTURE_PX = (1024, 683)
"""Width and height."""

_PEERS = "benchmarks.speed.peers"

SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "samclip": ("benchmarks.speed.sdk_subject:SdkSubject", {}),
    "sam+openclip": (f"{_PEERS}.sam_openclip:SamOpenClip", {}),
    "sam+openclip-l": (f"{_PEERS}.sam_openclip:SamOpenClip", {"clip": "ViT-L-14"}),
    "sam-onnx": (f"{_PEERS}.sam_onnx:SamOnnx", {}),
    "sam-onnx-l": (f"{_PEERS}.sam_onnx:SamOnnx", {"clip": "ViT-L-14"}),
    "mobile-sam": (f"{_PEERS}.mobile_sam:MobileSam", {}),
    "clipseg": (f"{_PEERS}.clipseg:ClipSeg", {}),
    "yoloe": (f"{_PEERS}.yoloe:YoloE", {}),
}
"""Name -> the class, as "module:Class", and its arguments."""

TINY = "tests/bundles/samclip-tiny"
VIT_B = "samclip-vit-b"
"""The folder of the ViT-B bundle: its name is that of its subjects."""

RUNS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "bf16"), ("openvino", "int8"))
"""The runtimes and precisions that are measured."""

BEST_RUN = ("openvino", "int8")
"""The fastest path on a CPU."""

FEW_RUNS = (RUNS[0], BEST_RUN)
"""Those of a measurement that is not of everything."""

RESOLUTIONS = (224, 336, 448, 672, 1024)

ONNX_FP32 = f"{VIT_B}-onnx-fp32"
BEST = f"{VIT_B}-{'-'.join(BEST_RUN)}"
TEXT_150 = f"{BEST}-k150"
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
SAM_CLIP_ONNX = "sam-onnx+clip-onnx-vit-l-14-k10"

FEW_PEERS = ("sam-onnx-l", "sam+openclip-l")
PEERS = (
    *FEW_PEERS,
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
    "mobile-sam",
    "clipseg",
    "yoloe",
)

Workload = Callable[[], object]
"""Does the whole thing, and returns only when it is done."""


@dataclass(frozen=True)
class Opened:
    """A subject that is loaded and ready.

    Attributes:
        name: as reports print it.
        packages: that do the work, of those that are installed.
        notes: what was forced or differs: sizes, prompts, classes, random weights.
        artifact_bytes: of the files that it was loaded from.
        workloads: by name, in the order in which they are run: of `WORKLOADS` those that the
            subject can do, or others at several sizes, such as "image_encoder@448".
        precision: "fp32", "fp16", "int8", as the subject calls it.
        steps: what is run for three_ways, where the subject can tell milliseconds by step, which
            add up to the whole.
        adds_up: three_ways is the other four in turn, as nothing is shared but what each of them
            keeps for the next: it is what they take together, and not run on its own.
    """

    name: str
    packages: tuple[str, ...]
    notes: str
    artifact_bytes: int
    workloads: Mapping[str, Workload]
    precision: str = "fp32"
    steps: Callable[[], dict[str, float]] | None = None
    adds_up: bool = False


class Subject(Protocol):
    """Something to measure. Making one loads nothing."""

    key: str
    """A stable id, such as "samclip-onnx-fp32"."""

    def open(self) -> Opened:
        """Imports and loads, in a process of its own; whatever it raises is told as the reason."""
        ...


def make_subject(spec: str) -> Subject:
    """Makes a subject of what `check_spec` takes.

    Raises:
        ValueError: see `check_spec`.
        ImportError: its module cannot be imported.
        TypeError: the class has no such argument.
    """
    name, options = check_spec(spec)
    path, arguments = SUBJECTS.get(name, (name, {}))
    module, _, attribute = path.partition(":")
    subject: Subject = getattr(importlib.import_module(module), attribute)(**arguments | options)
    return subject


def check_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Takes a spec apart, without importing anything: its name, and the arguments that it gives.

    It is a name of `SUBJECTS`, or "module:Class", then arguments, each behind a comma:
    "samclip,model=my-bundle,precision=int8,threads=2".

    Raises:
        ValueError: there is no such subject, or an argument is not NAME=VALUE.
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


def noise_picture() -> NDArray[np.uint8]:
    """The picture that every subject is asked about: noise, uint8 RGB [683,1024,3]."""
    import numpy as np

    shape = (*PICTURE_PX[::-1], 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def main_specs(vit_b: Path, *, everything: bool) -> tuple[str, ...]:
    """The subjects of the table; if not of everything, those of the bars and of the README.

    Those that the bars compare are near one another.
    """
    runs, labels = (RUNS, (30, 150)) if everything else (FEW_RUNS, (150,))
    return (
        *(f"{_spec(vit_b, *BEST_RUN)},labels={count}" for count in labels),
        *(_spec(vit_b, *run) for run in reversed(runs)),
        *(PEERS if everything else FEW_PEERS),
        *(_spec(TINY, *run) for run in runs),
    )


def series_specs(vit_b: Path, *, threads: Sequence[int], everything: bool) -> tuple[str, ...]:
    """The subjects of the smaller tables: text-to-mask of one label by samclip-tiny.

    Of everything also the image encoder at each resolution, and at the largest with each number of
    threads, and box prompts from one to many.
    """
    runs = RUNS if everything else FEW_RUNS
    labels = tuple(f"{_spec(TINY, *run)},skill=label" for run in runs)
    if not everything:
        return labels
    sizes = {count: RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:] for count in threads}
    encoders = tuple(
        f"{_spec(vit_b, *run)},skill=encoder,threads={count},"
        f"resolutions={'+'.join(map(str, sizes[count]))}"
        for run in runs
        for count in threads
    )
    return (*encoders, f"{_spec(vit_b, *BEST_RUN)},skill=boxes", *labels)


def _spec(model: str | Path, runtime: str, precision: str) -> str:
    return f"samclip,model={model},runtime={runtime},precision={precision}"
