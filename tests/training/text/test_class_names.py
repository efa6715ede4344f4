from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.text.wordnet_files import write_wordnet
from training.text.class_names import ClassNames, imagenet_synsets, read_class_names
from training.text.held_out import is_held_out
from training.text.wordnet import WordNet

CLASSES = (21, 22, 31, 40, 41)  # hound, puppy, tabby, and two cranes


def read(folder: Path, *, held_out_share: float = 0.0) -> ClassNames:
    return read_class_names(WordNet(write_wordnet(folder)), CLASSES, held_out_share=held_out_share)


def shares(names: ClassNames, name: str) -> list[float]:
    found: list[float] = names.classes[names.names.index(name)].tolist()
    return found


def test_first_names_in_the_classifiers_order(tmp_path: Path) -> None:
    assert read(tmp_path).direct == ("hound", "puppy", "tabby", "crane", "crane")


def test_a_synonym_stands_for_its_class(tmp_path: Path) -> None:
    assert shares(read(tmp_path), "whelp") == [0, 1, 0, 0, 0]


def test_what_classes_are_a_kind_of_stands_for_them_all(tmp_path: Path) -> None:
    names = read(tmp_path)
    assert shares(names, "domestic dog") == [0.5, 0.5, 0, 0, 0]
    assert shares(names, "beast") == pytest.approx([0.25, 0.25, 0.25, 0, 0.25])


def test_a_kind_of_a_class_stands_for_it(tmp_path: Path) -> None:
    assert shares(read(tmp_path), "beagle") == [1, 0, 0, 0, 0]


def test_a_name_of_two_classes_stands_for_both(tmp_path: Path) -> None:
    assert shares(read(tmp_path), "crane") == [0, 0, 0, 0.5, 0.5]


def test_every_name_is_there_once_and_its_shares_sum_to_one(tmp_path: Path) -> None:
    names = read(tmp_path)
    assert len(set(names.names)) == len(names.names)
    torch.testing.assert_close(names.classes.sum(dim=1), torch.ones(len(names.names)))
    assert not {"chair", "joy"} & set(names.names)


def test_held_out_synonyms_are_asked_and_not_taught(tmp_path: Path) -> None:
    names = read(tmp_path, held_out_share=0.999999)
    assert names.held_out == (("whelp", 1), ("lifting machine", 3), ("wading bird", 4))
    assert set(names.names) == {"hound", "puppy", "tabby", "crane"}


def test_the_classes_of_imagenet() -> None:
    synsets = imagenet_synsets()
    assert len(set(synsets)) == 1000
    assert synsets[281] == 2123045  # n02123045, tabby


def test_a_name_is_held_out_however_it_is_spelled() -> None:
    names = [f"thing {index}" for index in range(2000)]
    out = {name for name in names if is_held_out(name, share=0.2)}
    assert 0.17 < len(out) / len(names) < 0.23
    assert all(is_held_out(f" {name.upper()} ", share=0.2) == (name in out) for name in names)
    assert out <= {name for name in names if is_held_out(name, share=0.4)}
