"""Texts that a text encoder learns from: WordNet's nouns, alone and in phrases and captions."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samclip_sdk.text.tokenizer import clean_text
from training.errors import TrainingError
from training.text.held_out import is_held_out
from training.text.wordnet import WordNet

_QUALITIES = """
red orange yellow green blue purple pink brown black white grey golden silver dark bright
colourful striped spotted checkered transparent shiny wooden metal plastic glass stone leather
paper cotton woollen rubber ceramic concrete brick small big large tiny huge tall short long thin
round square flat old new young broken dirty clean wet dry empty full open closed fresh rotten
ripe cooked sliced folded parked flying sleeping running standing sitting modern antique rusty
furry fluffy smooth rough toy wild
"""
_EVERY_QUALITY = frozenset(_QUALITIES.split())
_PREPOSITIONS = (
    "on",
    "in",
    "under",
    "beside",
    "behind",
    "above",
    "near",
    "with",
    "inside",
    "without",
)
_DEEDS = ("holding", "wearing", "riding", "eating", "carrying", "watching", "using", "touching")
_PEOPLE = ("man", "woman", "person", "child", "boy", "girl")
_COUNTS = ("two", "three", "several", "many", "some")

TEMPLATES = {"{}": 8, "a photo of a {}.": 8, "a {}": 2, "a photo of the {}.": 1, "the {}": 1}
"""The texts around a noun phrase, and their numbers among 20 texts."""

_DEFINED = re.compile(r"[;:(),\"]| that | which | who | whose | used | having | usually ")
_GLOSS_WORDS = range(2, 9)
_COMMON_SHARE = 0.7  # of names, for those made of common words
_VISIBLE_SHARE = 0.85


@dataclass(frozen=True)
class Phrases:
    """Texts to learn from, and others that no text to learn from has the phrase of."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]


def draw_phrases(
    wordnet: WordNet,
    *,
    common: Collection[str],
    count: int,
    held_out: int,
    seed: int,
    captions: Sequence[str] = (),
) -> Phrases:
    """Draws `count` distinct texts to learn from and `held_out` others, made of WordNet's nouns.

    A phrase is held out by its own hash, in whatever template. Most names drawn are made of
    `common` words, such as a tokenizer's. Captions are phrases as they are: a tenth of the texts.
    """
    share = held_out / (count + held_out)
    rng = np.random.default_rng(seed)
    drawn = _texts(_Names(wordnet, rng, common=common), _gloss_phrases(wordnet), captions, rng)
    learned: dict[str, None] = {}
    others: dict[str, None] = {}
    for phrase, text in drawn:
        target, size = (others, held_out) if is_held_out(phrase, share=share) else (learned, count)
        if len(target) < size:
            target[text] = None
        if len(learned) == count and len(others) == held_out:
            break
    return Phrases(tuple(learned), tuple(others))


def named_in(text: str, names: Container[str]) -> tuple[str, bool] | None:
    """The name that a drawn text is of, in whatever template, and whether a quality stands before.

    "dog", False of "a photo of a dog."; "dog", True of "a wet dog"; None of what is else.
    """
    for template in TEMPLATES:
        before, after = template.split("{}")
        if text.startswith(before) and text.endswith(after):
            phrase = clean_text(text[len(before) : len(text) - len(after)])
            if phrase in names:
                return phrase, False
            quality, _, noun = phrase.partition(" ")
            if quality in _EVERY_QUALITY and noun in names:
                return noun, True
    return None


def read_captions(path: Path) -> tuple[str, ...]:
    """Reads a caption of each line of a text file; raises TrainingError if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TrainingError(f"the captions {path} cannot be read: {error}") from error
    captions = tuple(line.strip() for line in lines if line.strip())
    if not captions:
        raise TrainingError(f"{path} has no caption: write one a line")
    return captions


def _texts(
    names: _Names, glosses: Sequence[str], captions: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Yields phrases and the texts that they become, without end."""
    templates, qualities = list(TEMPLATES), _QUALITIES.split()
    weights = np.array(list(TEMPLATES.values())) / sum(TEMPLATES.values())
    while True:
        if captions and rng.random() < 0.1:
            phrase = _one_of(captions, rng)
            yield phrase, phrase
            continue
        kind = rng.random()
        if kind < 0.15:
            phrase = text = names.scene()
        else:
            if kind < 0.3:
                phrase = _one_of(glosses, rng)
            elif kind < 0.5:
                phrase = f"{_one_of(qualities, rng)} {names.one()}"
            else:
                phrase = names.one()
            text = templates[rng.choice(len(templates), p=weights)].format(phrase)
        yield phrase, text


class _Names:
    """Draws names, those of visible things and of common words more often than others."""

    def __init__(
        self, wordnet: WordNet, rng: np.random.Generator, *, common: Collection[str]
    ) -> None:
        visible = {synset.offset for synset in wordnet.visible()}
        self._rng = rng
        self._pools: dict[tuple[bool, bool], list[str]] = {}
        for synset in wordnet.synsets.values():
            for name in synset.names:
                is_common = all(word in common for word in re.split(r"[ -]", name))
                self._pools.setdefault((synset.offset in visible, is_common), []).append(name)

    def one(self) -> str:
        """A name; one of many meanings is as many times as likely."""
        kind = (self._rng.random() < _VISIBLE_SHARE, self._rng.random() < _COMMON_SHARE)
        return _one_of(self._pools.get(kind) or next(iter(self._pools.values())), self._rng)

    def scene(self) -> str:
        """Two things, or somebody who does something with one."""
        draw, kind = self._rng, self._rng.random()
        if kind < 0.4:
            return f"the {self.one()} {_one_of(_PREPOSITIONS, draw)} the {self.one()}"
        if kind < 0.6:
            return f"a {self.one()} and a {self.one()}"
        if kind < 0.8:
            return f"a {_one_of(_PEOPLE, draw)} {_one_of(_DEEDS, draw)} a {self.one()}"
        return f"{_one_of(_COUNTS, draw)} {self.one()}s"


def _gloss_phrases(wordnet: WordNet) -> list[str]:
    """The heads of definitions of visible things: "a hand tool with a heavy head"."""
    heads = (_DEFINED.split(synset.gloss, maxsplit=1)[0].split() for synset in wordnet.visible())
    phrases = (
        " ".join(words[1:] if words[0] in ("a", "an", "the", "any") else words)
        for words in heads
        if len(words) in _GLOSS_WORDS
    )
    return list(dict.fromkeys(phrases))


def _one_of(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]
