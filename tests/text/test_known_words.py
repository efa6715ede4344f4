from __future__ import annotations

import warnings

import pytest

from samclip_sdk import SamClip, SamClipWarning, TextError
from samclip_sdk.errors import UnknownWordWarning
from tests.command import answer, table
from tests.fake_source import sample_image
from tests.refusals import refused

ONNX = ("--runtime", "onnx", "--threads", "1")


def test_a_model_warns_once_of_each_label() -> None:
    with SamClip.load("onnx", threads=1, text_cache=False) as model:
        assert {"dog", "cat"} <= set(model.words)
        (nearest, cosine), *_ = model.nearest_words("dog")
        assert (nearest, cosine) == ("dog", pytest.approx(1, abs=0.02))
        refused(lambda: model.nearest_words(" "), TextError, "empty")
        with pytest.warns(UnknownWordWarning) as told:
            model.classify(sample_image(), ["dog", "qwxz frobnicator", "cats"])
        assert [each.filename for each in told] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error", SamClipWarning)
            found = model.segment_text(sample_image(), ["qwxz frobnicator"])
            assert list(found.read_as) == ["qwxz frobnicator"]
            model.learn_label("my zyxq thing", model.embed_region(sample_image(), point=[5, 5]))


def test_no_word_silently_means_another() -> None:
    """Each of these was found as something else without a word, or missed."""
    with SamClip.load("onnx", threads=1, text_cache=False) as model:
        readings = model.read_labels(
            ["hard hat", "coffee cup", "fire engine", "couch", "woman", "router", "star", "charger"]
        )
    kinds = {label: (each.kind, *each.words) for label, each in readings.items()}
    assert kinds["hard hat"] == ("read_as", "hat")
    assert kinds["coffee cup"][1] in ("cup", "coffee mug")
    assert kinds["fire engine"] == ("same", "fire truck")
    assert kinds["couch"] == ("same", "sofa")
    assert kinds["woman"] == ("read_as", "person")
    assert {kinds[label][0] for label in ("router", "star", "charger")} == {"unknown"}


def test_on_the_command_line() -> None:
    listed = table("words", *ONNX).splitlines()
    assert "dog" in listed
    assert listed == answer("words", *ONNX)["words"]
    asked = ("words", "dogs", "router", "hard hat", *ONNX)
    found = answer(*asked)
    assert found["nearest"]["dogs"][0][0] == "dog"
    kinds = {word: each["kind"] for word, each in found["readings"].items()}
    assert kinds == {"dogs": "same", "router": "unknown", "hard hat": "read_as"}
    for said in ("the same", "not known", "read as another", "hat"):
        assert said in table(*asked)
