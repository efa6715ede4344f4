"""Every verb that takes an image takes many: lists give lists, iterators give iterators."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_sdk import ImageError, PromptError, SamClip, TextError
from tests.fake_source import FakeSource, HeadsDiffer, sample_image
from tests.reader_threads import readers_end
from tests.refusals import refused

SIZES = [(50, 100), (60, 90), (70, 30), (40, 40), (33, 90)]
Verb = Callable[[SamClip, Any], Any]
VERBS: dict[str, Verb] = {
    "encode_image": lambda model, image: model.encode_image(image),
    "embed_image": lambda model, image: model.embed_image(image),
    "embed_region": lambda model, image: model.embed_region(image, box=[5, 5, 25, 25]),
    "classify": lambda model, image: model.classify(image, ["dog", "cat"]),
    "segment": lambda model, image: model.segment(image, boxes=[5, 5, 25, 25]),
    "segment_text": lambda model, image: model.segment_text(image, ["dog", "cat"]),
    "instances": lambda model, image: model.segment_instances(image, ["dog", "cat"]),
    "segment_everything": lambda model, image: model.segment_everything(
        image, ["dog", "cat"], points_per_side=3, pred_iou_thresh=0.5, stability_score_thresh=0.5
    ),
}
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture
def both(tmp_path: Path) -> tuple[SamClip, FakeSource]:
    source = HeadsDiffer(tmp_path)
    return SamClip(source), source


@pytest.fixture
def model(both: tuple[SamClip, FakeSource]) -> SamClip:
    return both[0]


def arrays(answer: Any) -> dict[str, np.ndarray]:
    """The arrays of an answer, and what it draws when asked to, by the names of its fields."""
    fields = {"": answer} if isinstance(answer, np.ndarray) else vars(answer)
    drawn = {name: value() if callable(value) else value for name, value in fields.items()}
    return {
        name: value
        for name, value in drawn.items()
        if isinstance(value, np.ndarray) and name != "origin"
    }


def same(found: Any, expected: Any) -> bool:
    pairs = [(arrays(found)[name], array) for name, array in arrays(expected).items()]
    return type(found) is type(expected) and all(np.array_equal(*pair) for pair in pairs)


@every_verb
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_answers_are_those_of_one_at_a_time(model: SamClip, verb: Verb, kind: Any) -> None:
    images = [sample_image(*size) for size in SIZES]
    answers = verb(model, kind(images))
    assert isinstance(answers, Iterator if kind is iter else list)
    found, expected = list(answers), [verb(model, each) for each in images]
    assert len(found) == len(expected)
    assert all(map(same, found, expected))
    assert not any(same(found[0], other) for other in expected[1:])
    assert readers_end()


@every_verb
def test_none_are_none(model: SamClip, verb: Verb) -> None:
    assert verb(model, []) == []
    assert list(verb(model, iter(()))) == []


@every_verb
def test_images_of_any_form_may_be_mixed(model: SamClip, verb: Verb, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(sample_image()).save(path)
    with path.open("rb") as file:
        found = verb(model, [path, str(path), sample_image(), path.read_bytes(), file])
    assert len(found) == 5
    assert all(same(each, verb(model, sample_image())) for each in found)
    prepared = model.prepare_image(path)
    found = verb(model, [prepared, model.encode_image(prepared)])
    assert all(same(each, verb(model, prepared)) for each in found)
    # An open file is one image, although it is an iterator, of lines.
    assert same(verb(model, io.BytesIO(path.read_bytes())), verb(model, sample_image()))


@every_verb
def test_a_stream_may_have_no_end(model: SamClip, verb: Verb) -> None:
    answers = verb(model, map(sample_image, itertools.count(20), itertools.count(30)))
    expected = [verb(model, sample_image(20 + index, 30 + index)) for index in range(3)]
    assert all(same(next(answers), each) for each in expected)
    answers.close()
    assert readers_end()


def test_a_broken_image_is_told_of_at_its_place(model: SamClip, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    images = [sample_image(), tmp_path / "torn.png", sample_image()]
    answers = model.classify(iter(images), ["dog"])
    next(answers)
    refused(lambda: next(answers), ImageError, "torn.png")
    assert list(answers) == []
    refused(lambda: model.classify(images, ["dog"]), ImageError, "torn.png")
    assert readers_end()


def test_what_was_asked_is_checked_at_once(model: SamClip) -> None:
    """Not at the first image, which may come much later."""
    images = iter([sample_image()])
    refused(lambda: model.classify(images, []), TextError, "label")
    refused(lambda: model.segment_text(images, "dog", threshold=2), PromptError, "threshold is 2")
    refused(lambda: model.segment(images), PromptError, "nothing")
