from __future__ import annotations

import warnings

import numpy as np
import pytest

from samclip_sdk import SamClip, SamClipWarning, TextError, UnknownWordWarning
from samclip_sdk.text.known_words import KnownWords
from tests.command import answer, table
from tests.fake_source import picture
from tests.refusals import refused

ONNX = ("--runtime", "onnx", "--threads", "1")


def turned(cosine: float) -> np.ndarray:
    """A unit vector with this cosine to the first axis, and none to the second."""
    return np.array([cosine, 0, np.sqrt(1 - cosine**2)], np.float32)


WORDS = KnownWords(("dog", "cat"), np.eye(3, dtype=np.float32)[:2])


def test_the_nearest_come_first() -> None:
    assert WORDS.nearest(turned(0.6)) == [("dog", pytest.approx(0.6)), ("cat", 0)]
    assert WORDS.nearest(turned(0.6), count=1) == [("dog", pytest.approx(0.6))]


def test_what_is_far_from_all_words_is_told() -> None:
    told = WORDS.why_unknown("zog", turned(0.5))
    assert told is not None
    for said in ("'zog'", "dog (0.50), cat (0.00)"):
        assert said in told
    assert WORDS.why_unknown("dogs", turned(0.9)) is None
    assert WORDS.why_unknown(" Cat", turned(0.1)) is None  # a taught word, however it is embedded


@pytest.mark.parametrize(("label", "warned"), [("Old dog", True), ("old dogma", False)])
def test_a_phrase_that_is_read_as_one_of_its_words_is_told(label: str, warned: bool) -> None:
    told = WORDS.why_unknown(label, turned(0.9))
    assert (told is not None) == warned
    assert told is None or f"'{label}', and takes it for 'dog' (0.90)" in told


@pytest.mark.parametrize(("label", "meant"), [("persn", "person"), ("peson", "person"), ("zq", "")])
def test_what_is_spelled_alike_is_told(label: str, meant: str) -> None:
    known = KnownWords(("capuchin", "person"), np.eye(3, dtype=np.float32)[:2])
    told = known.why_unknown(label, turned(0.5))
    assert told is not None
    assert f"did you mean '{meant}'" in told if meant else "did you mean" not in told


def test_a_model_warns_once_of_each_label() -> None:
    with SamClip.load("onnx", threads=1, text_cache=False) as model:
        assert {"dog", "cat"} <= set(model.words)
        (nearest, cosine), *_ = model.nearest_words("dog")
        assert (nearest, cosine) == ("dog", pytest.approx(1, abs=0.02))
        refused(lambda: model.nearest_words(" "), TextError, "empty")
        with pytest.warns(UnknownWordWarning) as told:
            model.classify(picture(), ["dog", "qwxz frobnicator", "cats"])
        assert [each.filename for each in told] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error", SamClipWarning)
            model.segment_text(picture(), ["qwxz frobnicator"])
            assert list(model.unknown_labels(["dog", "qwxz frobnicator"])) == ["qwxz frobnicator"]
            model.learn_label("my zyxq thing", model.embed_region(picture(), point=[5, 5]))


def test_on_the_command_line() -> None:
    listed = table("words", *ONNX).splitlines()
    assert "dog" in listed
    assert listed == answer("words", *ONNX)["words"]
    near = answer("words", "dogs", "zebra", *ONNX)["nearest"]
    assert [near[word][0][0] for word in ("dogs", "zebra")] == ["dog", "zebra"]
    assert "zebra" in table("words", "zebra", *ONNX)
