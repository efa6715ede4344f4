"""How cost grows: with labels, prompts, the size of the image, and clients of a server.

    python -m benchmarks growth

Each size of an axis is measured in turn, in rounds. What all sizes of an axis share, such as the
encoding of the image or the embeddings of labels, is done before and not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import over_rounds
from benchmarks.pages import ROOT
from benchmarks.serve import LABELS, as_new, boxes_of, distinct_images, send_all, serving, upload
from benchmarks.suite import Measuring, ModelName, Rounds, Runtime
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.image.loading import load_image

PHOTOGRAPH, LABEL = ROOT / "examples/images/dog.jpg", "dog"

LABEL_COUNTS = (1, 3, 10, 30, 100, 300, 1000)
PROMPT_COUNTS = (1, 4, 16, 64, 256)
MEGAPIXELS = (0.1, 1, 10, 30, 100)
CLIENT_COUNTS = (1, 2, 4, 8, 16, 32)
REQUESTS = 2
"""Of each client, in a round."""

Works = dict[float, Callable[[], object]]
"""What is done, by size."""


def growth(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    rounds: Rounds = 5,
) -> None:
    """Times answers by the number of labels, prompts, megapixels and clients.

    The machine should be idle.
    """
    samclip = measured.of(SamClip.load(runtime, model=model))
    for axis, works in {
        "labels": of_labels(samclip),
        "prompts": of_prompts(samclip),
        "megapixels": of_megapixels(samclip),
    }.items():
        add_axis(measured, axis, works, rounds=rounds)
    images = distinct_images(8)
    with serving(model, "--runtime", runtime) as server:

        def ask(clients: int) -> None:
            sent = [images[number % len(images)] for number in range(REQUESTS * clients)]
            requests = [upload("/v1/text", as_new(each), {"labels": LABELS}) for each in sent]
            list(send_all(server, requests, clients=clients))

        works = {clients: partial(ask, clients) for clients in CLIENT_COUNTS}
        add_axis(measured, "clients", works, rounds=rounds)


def add_axis(measured: Measuring, axis: str, works: Works, *, rounds: int) -> None:
    """Times the works of an axis in turn."""
    for size, times_ms in measured.in_turn(works, axis, rounds=rounds).items():
        measured.add(axis, f"{size:g}", n=rounds, ms=over_rounds(times_ms))


def of_labels(samclip: SamClip) -> Works:
    """Text-to-mask of an encoded image: one label that is there, and the model's words."""
    image = samclip.encode_image(PHOTOGRAPH)
    names = [LABEL, *(word for word in samclip.words if word != LABEL)]
    counts = [each for each in LABEL_COUNTS if each <= len(names)]
    return {count: partial(samclip.segment_text, image, names[:count]) for count in counts}


def of_prompts(samclip: SamClip) -> Works:
    """Boxes in an encoded image, one mask each."""
    image = samclip.encode_image(_scaled(load_image(PHOTOGRAPH), megapixels=1))
    ask = partial(samclip.segment, image, multimask_output=False)
    return {count: partial(ask, boxes=boxes_of(count)) for count in PROMPT_COUNTS}


def of_megapixels(samclip: SamClip) -> Works:
    """Text-to-mask of one label from an image in memory to a mask of its size."""
    photograph = load_image(PHOTOGRAPH)
    images = {size: _scaled(photograph, megapixels=size) for size in MEGAPIXELS}
    return {size: partial(samclip.segment_text, image, [LABEL]) for size, image in images.items()}


def _scaled(image: NDArray[np.uint8], *, megapixels: float) -> NDArray[np.uint8]:
    scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    size = tuple(round(scale * each) for each in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
