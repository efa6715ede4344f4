from __future__ import annotations

import warnings

import pytest

from samclip_sdk import SamClip, SamClipWarning, TextError, UnknownWordWarning
from tests.command import answer, table
from tests.fake_source import picture
from tests.refusals import refused

ONNX = ("--runtime", "onnx", "--threads", "1")


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


def test_a_word_that_stands_for_a_longer_one_is_told() -> None:
    with SamClip.load("onnx", threads=1, text_cache=False) as model:
        (word, _), *_ = model.nearest_words("camel")
        assert word == "arabian camel"
        told = model.unknown_labels(["camel", "dogs", "couch"])
        assert list(told) == ["camel"]
        assert "'arabian camel'" in told["camel"]


def test_on_the_command_line() -> None:
    listed = table("words", *ONNX).splitlines()
    assert "dog" in listed
    assert listed == answer("words", *ONNX)["words"]
    near = answer("words", "dogs", "zebra", *ONNX)["nearest"]
    assert [near[word][0][0] for word in ("dogs", "zebra")] == ["dog", "zebra"]
    assert "zebra" in table("words", "zebra", *ONNX)
    asked = ("words", "camel", "goat", *ONNX)
    assert answer(*asked)["taken_for"] == {"camel": "arabian camel", "goat": None}
    assert "taken for" in table(*asked)
    assert "none" in table(*asked)
