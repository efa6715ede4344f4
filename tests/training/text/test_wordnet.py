from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.text.wordnet import Synset, WordNet


def test_a_synset(wordnet: WordNet) -> None:
    assert len(wordnet.synsets) == 12
    assert wordnet.synsets[20] == Synset(
        offset=20,
        file=5,
        names=("dog", "domestic dog"),
        parents=(10,),
        gloss="a member of the genus Canis that barks",
    )


def test_what_is_above_and_below(wordnet: WordNet) -> None:
    assert list(wordnet.above(23)) == [21, 20, 10, 1]
    assert list(wordnet.below(20)) == [21, 22, 23]
    assert list(wordnet.below(23)) == []


def test_what_a_photograph_can_show(wordnet: WordNet) -> None:
    shown = {synset.names[0] for synset in wordnet.visible()}
    assert {"dog", "chair", "crane"} <= shown
    assert not {"joy", "thing"} & shown


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text("00000001 03 n zz\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"data\.noun is not WordNet's"):
        WordNet(tmp_path)
