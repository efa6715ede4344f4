"""The SDK of any commit as a subject: only names of its public API are called."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.subject import Opened, noise_image

LABELS = ("dog", "grass", "sky")

_ALL_ABOVE = -1e6  # a mask threshold, in logits: the masks fill the image


@dataclass(frozen=True)
class ApiSubject:
    """The SDK on onnxruntime in fp32; every label is present, and every mask fills the image.

    Attributes:
        sdk: a folder with another package samclip_sdk; this checkout's own if empty.
        model: a bundle's folder; the model in the package if empty.
        auto: the runtime and the precision are those that the SDK finds to be the fastest here.
    """

    sdk: str = ""
    model: str = ""
    auto: bool = False

    @property
    def key(self) -> str:
        """The folder's name, or "now"; with "-auto" behind it for the fastest."""
        return (Path(self.sdk).name or "now") + "-auto" * self.auto

    def open(self) -> Opened:
        """Loads the model; its graphs are opened by the first runs."""
        if self.sdk:
            sys.path.insert(0, self.sdk)  # nothing has imported the package in this process
        from samclip_sdk import SamClip

        asked = {"model": self.model} if self.model else {}
        asked |= {"precision": "auto"} if self.auto else {}
        model = SamClip.load("auto" if self.auto else "onnx", **asked)
        return Opened(
            name=f"{model.manifest.name} {model.manifest.revision}",
            packages=("onnxruntime", "openvino", "numpy", "pillow", "opencv-python-headless"),
            precision=f"{model.source.runtime} {model.source.precision}",
            notes=f"text-to-mask of {len(LABELS)} labels, all present; masks fill the image",
            artifact_bytes=None,
            workloads=_workloads(model),
        )


def _workloads(model: Any) -> dict[str, Callable[[], object]]:
    image, asked = noise_image(), {"threshold": 0.0, "mask_threshold": _ALL_ABOVE}
    ask = partial(model.segment_text, labels=LABELS, **asked)
    encoded = []

    def encode() -> None:
        encoded[:] = [model.encode_image(image)]

    # A fresh copy each time: the CLIP head's answer is kept for the last embedding.
    return {
        "encode": encode,
        "text3": lambda: ask(replace(encoded[0])),
        "image_to_masks": lambda: _steps_ms(lambda: ask(image)),
    }


def _steps_ms(work: Callable[[], Any]) -> dict[str, float]:
    start = time.perf_counter()
    steps: dict[str, float] = work().speed
    total = 1000 * (time.perf_counter() - start)
    return {**steps, "other": total - sum(steps.values())}
