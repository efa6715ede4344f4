from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import refused
from training.errors import TrainingError
from training.text.phrases import TEMPLATES, Phrases, draw_phrases, named_in, read_captions
from training.text.wordnet import WordNet

COMMON = frozenset(("dog", "cat", "chair", "puppy", "animal", "crane"))
CAPTION = "two friends under an umbrella"


def draw(wordnet: WordNet, *, seed: int = 0, captions: tuple[str, ...] = ()) -> Phrases:
    return draw_phrases(
        wordnet, common=COMMON, count=300, held_out=60, seed=seed, captions=captions
    )


def bare(text: str) -> str:
    """The phrase in a text."""
    for template in sorted(TEMPLATES, key=len, reverse=True):
        before, _, after = template.partition("{}")
        if text.startswith(before) and text.endswith(after):
            return text[len(before) : len(text) - len(after)]
    return text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dog", ("dog", False)),
        ("a photo of a Dog House.", ("dog house", False)),
        ("the dog", ("dog", False)),
        ("a photo of the wet dog.", ("dog", True)),
        ("rusty dog house", ("dog house", True)),
        ("a very wet dog", None),
        ("the dog on the dog house", None),
        ("cat", None),
    ],
)
def test_which_name_a_text_is_of(text: str, found: tuple[str, bool] | None) -> None:
    assert named_in(text, {"dog", "dog house"}) == found


def test_as_many_as_asked_each_once_and_on_one_side(wordnet: WordNet) -> None:
    phrases = draw(wordnet)
    assert len(set(phrases.learned)) == len(phrases.learned) == 300
    assert len(set(phrases.held_out)) == len(phrases.held_out) == 60
    assert not {bare(text) for text in phrases.learned} & {bare(text) for text in phrases.held_out}
    assert draw(wordnet) == phrases != draw(wordnet, seed=1)


def test_names_qualities_definitions_and_scenes(wordnet: WordNet) -> None:
    phrases = draw(wordnet)
    texts = {*phrases.learned, *phrases.held_out}
    assert any("grey cat with dark stripes" in text for text in texts)
    assert any(text.startswith(("red ", "a photo of a red ")) for text in texts)
    assert any(" beside the " in text for text in texts)
    assert not any("barks" in text for text in texts)  # behind "that", it is no noun phrase


def test_captions_are_taken_as_they_are(wordnet: WordNet) -> None:
    phrases = draw(wordnet, captions=(CAPTION,))
    assert (CAPTION in phrases.learned) != (CAPTION in phrases.held_out)


def test_a_file_of_captions(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text(f"{CAPTION}\n\n  a dog \n", encoding="utf-8")
    assert read_captions(path) == (CAPTION, "a dog")
    path.write_text("\n\n", encoding="utf-8")
    refused(lambda: read_captions(path), TrainingError, "has no caption")
    refused(lambda: read_captions(tmp_path / "none.txt"), TrainingError, "cannot be read")
