from __future__ import annotations

import pytest
import torch

from training.text.class_names import ClassNames, read_class_names
from training.text.held_out import is_held_out
from training.text.wordnet import WordNet

CLASSES = (21, 22, 31, 40, 41)  # hound, puppy, tabby, and two cranes


def read(wordnet: WordNet, *, held_out_share: float = 0.0) -> ClassNames:
    return read_class_names(wordnet, CLASSES, held_out_share=held_out_share)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("whelp", [0, 1, 0, 0, 0]),  # a synonym
        ("domestic dog", [0.5, 0.5, 0, 0, 0]),  # what classes are a kind of
        ("beast", [0.25, 0.25, 0.25, 0, 0.25]),
        ("beagle", [1, 0, 0, 0, 0]),  # a kind of a class
        ("crane", [0, 0, 0, 0.5, 0.5]),  # a name of two classes
    ],
)
def test_a_name_stands_for_classes(wordnet: WordNet, name: str, shares: list[float]) -> None:
    names = read(wordnet)
    assert names.classes[names.names.index(name)].tolist() == shares


def test_every_name_is_there_once_and_its_shares_sum_to_one(wordnet: WordNet) -> None:
    names = read(wordnet)
    assert len(set(names.names)) == len(names.names)
    torch.testing.assert_close(names.classes.sum(dim=1), torch.ones(len(names.names)))
    assert not {"chair", "joy"} & set(names.names)
    assert names.direct == ("hound", "puppy", "tabby", "crane", "crane")


def test_held_out_synonyms_are_asked_and_not_taught(wordnet: WordNet) -> None:
    names = read(wordnet, held_out_share=0.999999)
    assert names.held_out == (("whelp", 1), ("lifting machine", 3), ("wading bird", 4))
    assert set(names.names) == {"hound", "puppy", "tabby", "crane"}


def test_a_name_is_held_out_however_it_is_spelled() -> None:
    names = [f"thing {index}" for index in range(2000)]
    out = {name for name in names if is_held_out(name, share=0.2)}
    assert 0.17 < len(out) / len(names) < 0.23
    assert all(is_held_out(f" {name.upper()} ", share=0.2) == (name in out) for name in names)
    assert out <= {name for name in names if is_held_out(name, share=0.4)}
