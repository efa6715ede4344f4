"""How names were taught, in a WordNet of twelve nouns."""

from __future__ import annotations

from pathlib import Path

from benchmarks.photographs.figures import how_taught, kinds_of
from tests.training.text.wordnet_files import write_wordnet
from training.text.class_names import imagenet_lemmas
from training.text.wordnet import WordNet


def test_lemmas_are_in_the_order_of_the_classes() -> None:
    lemmas = imagenet_lemmas()
    assert len(lemmas) == 1000
    assert lemmas[0] == ("tench", "tinca tinca")
    assert "beagle" in {first for first, *_ in lemmas}


def test_held_out_names_are_parted_by_what_is_near(tmp_path: Path) -> None:
    """Beagles are a class of ImageNet's; puppies and hounds are dogs both, and one is taught.

    A chair is a thing as a crane is, which is a class; joy cannot be seen.
    """
    wordnet = WordNet(write_wordnet(tmp_path))
    names = ("beagle", "chair", "dog bed", "hound", "joy", "puppy", "very nice")
    held_out = ("beagle", "bed", "chair", "joy", "puppy")
    found = how_taught(names, held_out=held_out, wordnet=wordnet)
    assert found == {
        "beagle": "classes",
        "chair": "near",
        "dog bed": "far",
        "hound": "seen",
        "joy": "far",
        "puppy": "near",
        "very nice": "seen",
    }
    assert kinds_of(found.values()) == ["all", "seen", "classes", "near", "far"]
    assert kinds_of(["seen"]) == ["all"]
