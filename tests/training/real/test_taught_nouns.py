"""Which nouns a model that saw sets of photographs can name."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.training.photograph_files import annotation, rectangle, sample_image, write_set
from tests.training.text.things import write_things
from tests.training.text.wordnet_files import write_wordnet
from training.data_config import Photographs as Settings
from training.photographs import app
from training.real.photographs import Photographs
from training.real.taught_nouns import choose_taught, class_names, class_numbers
from training.text.class_names import imagenet_lemmas, imagenet_synsets
from training.text.relations import Relations
from training.text.senses import Senses
from training.text.wordnet import WordNet

BOX = rectangle(10, 10, 60, 60)


def test_what_is_marked_twice_or_tagged_five_times(tmp_path: Path) -> None:
    """A sign is nothing to see, a serviceman nobody in particular, and a bus is shown once."""
    tags = {"split": "train", "labels": ["taxi", "sign", "serviceman", "very nice", "person"]}
    masks = [annotation(1, BOX), annotation(1, BOX), annotation(2, BOX)]
    write_set(
        tmp_path / "sets" / "a",
        [
            *((sample_image(), masks[2:], tags) for _ in range(3)),
            (sample_image(), masks, tags | {"labels": [*tags["labels"], "bus"]}),
            (sample_image(), [annotation(3, BOX)], tags | {"labels": [*tags["labels"], "cab"]}),
            *((sample_image(), masks, {"split": "val", "labels": ["cab"]}) for _ in range(5)),
        ],
        categories=["cat", "odd-thing", "bus"],
    )
    settings = Settings(source="photographs", root=tmp_path / "sets")
    relations = Relations(WordNet(write_things(tmp_path / "wordnet")))
    found = choose_taught(Photographs(settings, split="train"), relations=relations)
    assert found == {"person": 5, "taxi": 5, "odd-thing": 4, "bus": 2}


def test_a_class_leaves_names_that_mean_something_else_first(tmp_path: Path) -> None:
    """The wagon of class 436 is a kind of beach wagon, and to all others another wagon."""
    lemmas, offsets = imagenet_lemmas(), imagenet_synsets()
    plane, wagon = lemmas.index(("plane", "carpenter's plane", "woodworking plane")), 436
    assert "wagon" in lemmas[wagon]
    nouns = {
        1: (6, ("plane",), (), ""),
        offsets[plane]: (6, ("carpenter's_plane", "plane", "woodworking_plane"), (), ""),
        2: (6, ("wagon",), (), ""),
        offsets[wagon]: (6, ("beach_wagon", "station_wagon", "wagon"), (), ""),
    }
    counts = {("plane", 1): 21, ("wagon", 1): 24}
    senses = Senses(WordNet(write_wordnet(tmp_path, nouns, counts=counts)))
    found = class_numbers(senses)
    assert found["beach wagon"] == found["station wagon"] == (wagon,)
    assert wagon not in found["wagon"]  # another class of the name has no sense here
    assert "plane" not in found
    assert found["crane"] == (134, 517)
    names = class_names(senses)
    assert len(names) == 1000
    assert (names[plane], names[134], names[wagon]) == ("carpenter's plane", "crane", "beach wagon")
    assert all(name in every for name, every in zip(names, lemmas, strict=True))


def test_the_command_lists_each_taught_word_once(tmp_path: Path) -> None:
    """Hounds and whelps by their tags, cats and puppies by their masks."""
    labels = {"split": "train", "labels": ["hound"]}
    masks = [annotation(1, BOX), annotation(2, BOX)]
    sets, target = tmp_path / "sets", tmp_path / "nouns.txt"
    write_set(sets / "a", [(sample_image(), masks, labels)] * 5, categories=["cat", "whelp"])
    wordnet = write_wordnet(tmp_path / "wordnet")
    result = CliRunner().invoke(app, ["nouns", str(sets), str(target), "--wordnet", str(wordnet)])
    assert result.exit_code == 0, result.output
    found = target.read_text(encoding="utf-8").splitlines()
    classes = {lemma for lemmas in imagenet_lemmas() for lemma in lemmas}
    assert {*found} - classes == {"hound", "cat", "whelp"}
    assert found == sorted({*found})
    assert f"holds {len(found)} nouns" in result.output
