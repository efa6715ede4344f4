from __future__ import annotations

from pathlib import Path

from tests.refusals import refused
from tests.training.text.things import write_things
from training.errors import TrainingError
from training.text.senses import Senses
from training.text.wordnet import WordNet


def test_a_sense_that_is_seldom_meant_does_not_count(senses: Senses) -> None:
    assert senses.of("dog") == (101,)  # and no frump
    assert senses.of("man") == (202,)  # above all no animal, a homo


def test_whom_an_animal_gave_its_name_counts_where_texts_mean_it(senses: Senses) -> None:
    assert senses.of("whale") == (108,)
    assert senses.of("kid") == (212,)


def test_where_nobody_counted_a_person_comes_last(senses: Senses) -> None:
    assert senses.of("mug") == (504, 208)


def test_what_a_photograph_can_show_comes_before_the_rest(senses: Senses) -> None:
    assert senses.of("table") == (402,)
    assert senses.of("sign") == (510,)
    assert senses.is_visible(200)
    assert not senses.is_visible(6)


def test_what_people_mean_is_told_where_wordnet_misleads(senses: Senses) -> None:
    assert senses.of("human") == senses.of("humans") == senses.of("person") != ()
    assert senses.of("flag") == ()


def test_proper_names_count_where_there_is_nothing_else(senses: Senses) -> None:
    assert 210 not in senses.of("crane")
    assert senses.of("chihuahua") == (107,)


def test_a_file_that_is_missing_or_damaged(tmp_path: Path) -> None:
    folder = write_things(tmp_path)
    nouns = (folder / "data.noun").read_text(encoding="utf-8")
    (folder / "data.noun").write_text("00000001 03 n zz\n", encoding="utf-8")
    refused(lambda: WordNet(folder), TrainingError, "data.noun is not WordNet's")
    (folder / "data.noun").write_text(nouns, encoding="utf-8")
    (folder / "index.noun").write_text("dog n many\n", encoding="utf-8")
    refused(lambda: Senses(WordNet(folder)), TrainingError, "index.noun is not WordNet's")
    (folder / "index.noun").unlink()
    refused(lambda: Senses(WordNet(folder)), TrainingError, "index.noun")
