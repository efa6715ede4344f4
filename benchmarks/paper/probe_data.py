"""What linear probes are trained, chosen and tested on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from benchmarks.paper.record import Accuracy
from benchmarks.quality.drawings import Picture
from benchmarks.quality.ranking import Rank
from training.composed.scenes import Scene


@dataclass(frozen=True)
class ProbeData:
    """Pictures and scenes, all of them square, the same for each backbone.

    Attributes:
        pictures: to train on and to choose by; each can be gone through more than once.
        labels: how many names these have.
        test: asks a classifier about other pictures; a text is for the progress bar.
        scenes: to train on, to choose by and to test.
        background: the class of a pixel that is of no noun; nouns come before it.
        patches: that a segmentation probe is trained on, at most.
        seed: of the draw of patches.
    """

    pictures: tuple[Collection[Picture], Collection[Picture]]
    labels: int
    test: Callable[[Rank, str], Accuracy]
    scenes: tuple[Sequence[Scene], Sequence[Scene], Sequence[Scene]]
    background: int
    patches: int
    seed: int
