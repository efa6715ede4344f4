"""What answers tell of labels that are read as others, or that the model does not know."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import Reading, SamClip, SamClipWarning, TextError
from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.text.word_table import WordTable
from tests.fake_source import WHERE, FakeSource, fake_client, sample_image
from tests.refusals import refused

TABLE = WordTable(
    same={"dog": ("hound",)},
    read_as={"dog": ("puppy",)},
    any_of={"animal": ("dog", "cat")},
    unknown=("dog collar",),
    joints=("with",),
    measures=(),
    articles=("a",),
)
NOUNS = ("dog", "cat", "boat")


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    maker, _ = fake_client(tmp_path)
    maker.save_vocabulary(tmp_path / "nouns.safetensors", NOUNS)
    _, source = fake_client(tmp_path)
    source.nouns_path, source.words_path = tmp_path / "nouns.safetensors", tmp_path / "words.json"
    source.words_path.write_text(TABLE.model_dump_json(), encoding="utf-8")
    return source


@pytest.fixture
def model(source: FakeSource) -> SamClip:
    return SamClip(source)


def test_a_label_is_one_of_four_things(model: SamClip) -> None:
    found = model.read_labels(["dog", "hounds", "puppy", "big dog", "animals", "zebra"])
    kinds = {label: (each.kind, each.words) for label, each in found.items()}
    unknown = kinds.pop("zebra")
    assert kinds == {
        "dog": ("taught", ("dog",)),
        "hounds": ("same", ("dog",)),
        "puppy": ("read_as", ("dog",)),
        "big dog": ("read_as", ("dog",)),
        "animals": ("read_as", ("dog", "cat")),
    }
    assert unknown[0] == "unknown"
    assert found["zebra"].words[0] in NOUNS
    assert found["zebra"].cosine is not None


def test_a_label_is_answered_by_the_words_it_is_read_as(model: SamClip) -> None:
    found = model.segment_text(sample_image(), ["dog", "hound", "puppy", "boat"])
    assert found.labels == ("dog", "hound", "puppy")
    for label in ("hound", "puppy"):
        np.testing.assert_array_equal(found.mask(label), found.mask("dog"))
    assert found.read_as == {"puppy": Reading("read_as", ("dog",))}
    assert found.to_dict()["read_as"] == {"puppy": {"kind": "read_as", "words": ["dog"]}}


def test_a_general_word_is_any_of_its_kinds(model: SamClip) -> None:
    found = model.segment_text(sample_image(), ["dog", "cat", "animal"], refine=False)
    maps = found.asked.score_maps
    np.testing.assert_array_equal(maps[2], np.maximum(maps[0], maps[1]))
    assert found.read_as == {"animal": Reading("read_as", ("dog", "cat"))}
    things = model.segment_instances(sample_image(), "animal", min_score=0)
    assert len(things)
    assert things.read_as == found.read_as
    probs = model.classify(sample_image(), ["boat", "animal", "dog"])
    assert probs.logits[1] == probs.logits[2]
    assert probs.read_as == found.read_as


def test_a_label_that_is_not_known_is_found_only_if_that_is_asked(
    model: SamClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WHERE, "zebra", (0, 0))
    absent = model.segment_text(sample_image(), ["zebra", "dog collar"])
    assert not absent.labels
    assert absent.asked.presence[0] > 0.9  # as it is
    assert {each.kind for each in absent.read_as.values()} == {"unknown"}
    assert model.segment_text(sample_image(), "zebra", allow_unknown=True).labels == ("zebra",)
    assert model.segment_text(sample_image(), "zebra", threshold=0.5).labels == ("zebra",)
    assert not len(model.segment_instances(sample_image(), "zebra", min_score=0))
    assert len(model.segment_instances(sample_image(), "zebra", min_score=0, allow_unknown=True))
    assert not model.segment_text(sample_image(), "zebra", tiles=(1, 2)).labels


def test_what_a_user_taught_comes_first(model: SamClip, source: FakeSource) -> None:
    model.learn_label("puppy", source.vector("cat"))
    assert model.read_labels("puppy") == {"puppy": Reading("taught", ("puppy",))}
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamClipWarning)
        found = model.segment_text(sample_image(), ["puppy", "cat"])
    assert not found.read_as
    assert found.labels == ("puppy", "cat")


def test_one_warning_for_any_number_of_labels(model: SamClip) -> None:
    labels = [f"zebra {number}" for number in range(500)]
    with pytest.warns(UnknownWordWarning, match="'zebra 0' is not known.*and 498 more") as told:
        model.classify(sample_image(), ["puppy", *labels])
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamClipWarning)
        model.segment_text(sample_image(), ["puppy", *labels])  # each is told once


def test_a_pack_tells_what_its_labels_are_read_as(model: SamClip, tmp_path: Path) -> None:
    pack = tmp_path / "labels.safetensors"
    model.save_vocabulary(pack, ["puppy", "dog", "zebra"])
    expected = model.segment_text(sample_image(), ["puppy", "dog", "zebra"])
    user, _ = fake_client(tmp_path)
    user.load_vocabulary(pack)
    found = user.segment_text(sample_image(), ["puppy", "dog", "zebra"])
    assert found.read_as == expected.read_as
    assert found.labels == expected.labels
    refused(lambda: model.save_vocabulary(pack, "animal"), TextError, "any of dog, cat")
    refused(lambda: model.embed_labels("animal"), TextError, "any of dog, cat")


def test_a_bundle_without_a_table_tells_nothing(tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamClipWarning)
        assert not model.segment_text(sample_image(), ["zebra", "puppy"]).read_as
    assert model.read_labels("zebra") == {}
