"""What the latency benchmark measures: a model behind the five workloads that all are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

WORKLOADS = ("encode", "classify", "point", "text3", "three_ways")
"""What a subject is asked to do, of one uint8 RGB picture of 1024x683 in memory, fixed by seed.

encode: the image encoder that prompts need, alone, with preprocessing. classify: 1,000 labels whose
text is cached. point: one point prompt. text3: text-to-mask of three classes. three_ways: all three
of one picture, from the picture, sharing what the subject can share. classify, point and text3 are
timed on top of an encoded picture where the subject can separate them; its notes say where not.
"""

Workload = Callable[[], object]
"""Does the whole thing, and returns only when it is done."""


@dataclass(frozen=True)
class Opened:
    """A subject that is loaded and ready.

    Attributes:
        name: as reports print it.
        package_versions: of what does the work, by package.
        precision: "fp32", "fp16", "int8", as the subject calls it.
        notes: what was forced or differs: sizes, prompts, classes, random weights.
        artifact_bytes: of the files that it was loaded from.
        workloads: of `WORKLOADS`; a skill that the subject lacks is not there.
        steps: what is run for three_ways, where the subject can tell milliseconds by step, which
            add up to the whole.
        adds_up: three_ways is the other four in turn, as nothing is shared but what each of them
            keeps for the next: it is what they take together, and not run on its own.
    """

    name: str
    package_versions: dict[str, str]
    precision: str
    notes: str
    artifact_bytes: int
    workloads: Mapping[str, Workload]
    steps: Callable[[], dict[str, float]] | None = None
    adds_up: bool = False


class Subject(Protocol):
    """Something to measure. Making one loads nothing; everything heavy happens in `open`."""

    @property
    def key(self) -> str:
        """A stable id, such as "samclip-onnx-fp32"."""
        ...

    def open(self) -> Opened:
        """Imports and loads, in a process of its own.

        Raises:
            Exception: whatever the subject raises; the result then gives it as the reason.
        """
        ...
