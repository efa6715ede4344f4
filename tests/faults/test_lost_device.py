"""A device that goes away in the middle: one clear error, no wrong answer, and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reliability.questions import LABELS, digest_answer
from samclip_sdk import SamClip, SamClipError
from samclip_sdk.errors import RunError, VerificationError
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.text.stored_labels import StoredLabels
from tests.fake_session import FakeSession
from tests.fake_source import HeadsDiffer, sample_image
from tests.refusals import refused
from tests.test_many_images import VERBS as OF_IMAGES

IMAGE = sample_image()


class Device(HeadsDiffer):
    """A source whose sessions fail while the device is lost: as it runs, or in what it gives."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lost: set[str] = set()
        self.failure: Callable[[dict[str, Any]], dict[str, Any]] = lose

    def session(self, graph: str) -> FakeSession:
        session = super().session(graph)
        answer, name = session.run, graph.partition("@")[0]

        def run(feed: Arrays) -> dict[str, Any]:
            found = answer(feed)
            return self.failure(found) if name in self.lost else found

        session.run = run
        return session


def lose(found: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("CUDA error 719: unspecified launch failure\n(at stream 3)")


def give_no_numbers(found: dict[str, Any]) -> dict[str, Any]:
    return {name: np.full_like(array, np.nan) for name, array in found.items()}


def give_one_infinity(found: dict[str, Any]) -> dict[str, Any]:
    broken = {name: array.copy() for name, array in found.items()}
    next(iter(broken.values())).flat[-1] = np.inf
    return broken


VERBS: dict[str, Callable[[SamClip, np.ndarray], Any]] = {
    **OF_IMAGES,
    "stream": lambda model, image: list(model.stream([image] * 2, LABELS, threshold=0)),
    "embed_text": lambda model, image: model.embed_text(LABELS),
}
GRAPHS = {
    "classify": ("text_encoder", "image_encoder", "clip_head"),
    "encode_image": ("image_encoder",),
    "embed_image": ("image_encoder", "clip_head"),
    "embed_region": ("image_encoder", "clip_head"),
    "embed_text": ("text_encoder",),
    "segment": ("image_encoder", "prompt_encoder", "mask_decoder"),
}
ALL = ("text_encoder", "image_encoder", "clip_head", "prompt_encoder", "mask_decoder")


@pytest.mark.parametrize("failure", [lose, give_no_numbers, give_one_infinity])
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_answers_while_the_device_is_lost(
    tmp_path: Path, verb: str, failure: Callable[[Any], Any]
) -> None:
    """Whichever graph fails; and afterwards the model answers as if nothing had happened."""
    expected = VERBS[verb](SamClip(Device(tmp_path)), IMAGE)
    for graph in GRAPHS.get(verb, ALL):
        device = Device(tmp_path)
        model, device.failure = SamClip(device), failure
        device.lost = {graph}
        for _ in range(2):
            error = RunError if failure is lose else VerificationError
            advice = "device" if failure is lose else "samclip verify"
            refused(partial(VERBS[verb], model, IMAGE), error, graph, advice)
        device.lost = set()
        assert digest_answer(VERBS[verb](model, IMAGE)) == digest_answer(expected)


def test_an_error_without_words_is_named(tmp_path: Path) -> None:
    def run_out(found: dict[str, Any]) -> dict[str, Any]:
        raise MemoryError

    device = Device(tmp_path)
    device.lost, device.failure = {"image_encoder"}, run_out
    refused(lambda: SamClip(device).embed_image(IMAGE), RunError, "image_encoder@32", "MemoryError")


def test_a_fault_of_the_calling_code_stays_one(tmp_path: Path) -> None:
    """So does what a runtime says in our own words."""
    for error in (ValueError("the session is closed"), SamClipError("ours")):

        def fail(found: dict[str, Any], error: Exception = error) -> dict[str, Any]:
            raise error

        device = Device(tmp_path)
        device.lost, device.failure = {"image_encoder"}, fail
        refused(partial(SamClip(device).embed_image, IMAGE), type(error), error)


def test_no_later_process_finds_what_a_lost_device_gave(tmp_path: Path) -> None:
    """Embeddings of labels outlive the process; those that are none must not."""
    stored = StoredLabels(["model"], folder=tmp_path / "text")
    device = Device(tmp_path)
    device.lost, device.failure = {"text_encoder"}, give_no_numbers
    with pytest.raises(VerificationError):
        SamClip(device, stored_labels=stored).classify(IMAGE, LABELS)
    assert not (tmp_path / "text").exists()


def test_many_images_answer_up_to_the_one_that_failed(tmp_path: Path) -> None:
    device = Device(tmp_path)
    model = SamClip(device)
    answers = model.embed_image(iter([IMAGE] * 3))
    first = next(answers)
    device.lost = {"image_encoder"}
    with pytest.raises(RunError):
        list(answers)
    device.lost = set()
    np.testing.assert_array_equal(model.embed_image(IMAGE), first)
