"""How cost grows: with labels, prompts, the size of the picture, and clients of a server.

    python -m benchmarks growth

Each size of an axis is measured in turn, in rounds. What all sizes of an axis share, such as the
encoding of the picture or the embeddings of labels, is done before and not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.distinct_pictures import distinct_pictures
from benchmarks.intervals import over_rounds
from benchmarks.pages import ROOT
from benchmarks.serve import LABELS, as_new, boxes_of, send_all, serving, upload
from benchmarks.suite import Measuring, ModelName, Rounds, Runtime, timed
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.picture.image import load_image

PHOTOGRAPH, LABEL = ROOT / "examples/images/dog.jpg", "dog"

LABEL_COUNTS = (1, 3, 10, 30, 100, 300, 1000)
PROMPT_COUNTS = (1, 4, 16, 64, 256)
MEGAPIXELS = (0.1, 1, 10, 30, 100)
CLIENT_COUNTS = (1, 2, 4, 8, 16, 32)
REQUESTS = 2
"""Of each client, in a round."""

Work = Callable[[], object]


def growth(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    rounds: Rounds = 5,
) -> None:
    """Times answers by the number of labels, prompts, megapixels and clients.

    The machine should be idle.
    """
    samclip = SamClip.load(runtime, model=model)
    measured.of(samclip)
    axes = {
        "labels": of_labels(samclip, LABEL_COUNTS),
        "prompts": of_prompts(samclip, PROMPT_COUNTS),
        "megapixels": of_megapixels(samclip, MEGAPIXELS),
    }
    for axis, works in axes.items():
        time_each(measured, axis, works, rounds=rounds)
    pictures = distinct_pictures(8)
    with serving(model, "--runtime", runtime) as server:

        def ask(clients: int) -> Work:
            sent = [pictures[number % len(pictures)] for number in range(REQUESTS * clients)]
            requests = [upload("/v1/text", as_new(each), {"labels": LABELS}) for each in sent]
            return lambda: list(send_all(server, requests, clients=clients))

        works = ((clients, ask(clients)) for clients in CLIENT_COUNTS)
        time_each(measured, "clients", works, rounds=rounds)


def time_each(
    measured: Measuring, axis: str, works: Iterator[tuple[float, Work]], *, rounds: int
) -> None:
    """Times the works of an axis in turn, after one run of each that does not count."""
    every = list(works)
    found: dict[float, list[float]] = {size: [] for size, _ in every}
    for turn in measured.track(range(rounds + 1), axis):
        for size, work in every:
            _, ms = timed(work)
            if turn:
                found[size].append(ms)
    for size, times in found.items():
        measured.add(axis, f"{size:g}", n=rounds, ms=over_rounds(times))


def of_labels(samclip: SamClip, counts: Sequence[float]) -> Iterator[tuple[float, Work]]:
    """Text-to-mask of an encoded picture: one label that is there, and the model's words."""
    image = samclip.encode_image(PHOTOGRAPH)
    names = [LABEL, *(word for word in samclip.words if word != LABEL)]
    for count in (each for each in counts if each <= len(names)):
        own = names[: int(count)]
        yield count, lambda own=own: samclip.segment_text(image, own)


def of_prompts(samclip: SamClip, counts: Sequence[float]) -> Iterator[tuple[float, Work]]:
    """Boxes in an encoded picture, one mask each."""
    image = samclip.encode_image(_scaled(load_image(PHOTOGRAPH), megapixels=1))
    for count in counts:
        boxes = boxes_of(int(count))
        yield (
            count,
            lambda boxes=boxes: samclip.segment(image, boxes=boxes, multimask_output=False),
        )


def of_megapixels(samclip: SamClip, sizes: Sequence[float]) -> Iterator[tuple[float, Work]]:
    """Text-to-mask of one label from a picture in memory to a mask of its size."""
    photograph = load_image(PHOTOGRAPH)
    for size in sizes:
        picture = _scaled(photograph, megapixels=size)
        yield size, lambda picture=picture: samclip.segment_text(picture, [LABEL])


def _scaled(picture: NDArray[np.uint8], *, megapixels: float) -> NDArray[np.uint8]:
    scale = (megapixels * 1e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
    size = tuple(round(scale * each) for each in picture.shape[1::-1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
