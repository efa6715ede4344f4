"""What a person has said of words, where WordNet alone would say something else or nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from samclip_sdk.system.records import Record, first_fault
from training.errors import TrainingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXCEPTIONS = Path(__file__).with_suffix(".toml")

_OFFSET = "n"  # the letter before an offset: ImageNet's names of synsets


def _split(text: object) -> object:
    return (
        tuple(" ".join(each.split()) for each in text.split(",")) if isinstance(text, str) else text
    )


def _offsets(text: object) -> object:
    if not isinstance(text, str):
        return text
    return tuple(each.strip().removeprefix(_OFFSET) for each in text.split(",") if each)


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_split)]
Offsets = Annotated[tuple[int, ...], BeforeValidator(_offsets)]


class Rule(Record):
    """Words of the rule that finds the head noun; see `WordTable`."""

    joints: Texts
    measures: Texts
    articles: Texts


class Topic(Record):
    """Texts of one topic, by what is said of them; see `WordTable`."""

    same: dict[str, Texts] = Field(default_factory=dict)
    read_as: dict[str, Texts] = Field(default_factory=dict)
    any_of: dict[str, Texts] = Field(default_factory=dict)
    unknown: Texts = ()


class _File(Record):
    rule: Rule
    senses: dict[str, Offsets]
    depth: dict[str, int]
    topics: dict[str, Topic] = Field(default_factory=dict)


@dataclass(frozen=True)
class WordExceptions:
    """What is said of words; all of it is clean.

    Attributes:
        rule: the words of the rule of head nouns.
        senses: taught word -> its offsets in WordNet, where its commonest sense is another.
        depth: taught word -> how many levels below it WordNet's kinds are read as it; "" has it for
            all others.
        readings: text -> (kind, words), the kind being "same", "read_as", "any_of" or "unknown".
    """

    rule: Rule
    senses: dict[str, tuple[int, ...]]
    depth: dict[str, int]
    readings: dict[str, tuple[str, tuple[str, ...]]]


def read_exceptions(path: Path = EXCEPTIONS) -> WordExceptions:
    """Reads the file.

    Raises:
        TrainingError: it cannot be read, is no such file, or says two things of one text.
    """
    try:
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else error
        raise TrainingError(f"{path} has no exceptions of words: {fault}") from error
    readings: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, topic in found.topics.items():
        for text, kind, words in _said(topic):
            if readings.setdefault(text, (kind, words)) != (kind, words):
                raise TrainingError(f"{path}, {name}: {text!r} has an entry already")
    return WordExceptions(found.rule, found.senses, found.depth, readings)


def _said(topic: Topic) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """Yields what a topic says: a text, the kind and the words."""
    for kind, table in (("same", topic.same), ("read_as", topic.read_as)):
        for word, texts in table.items():
            for text in texts:
                yield text, kind, (word,)
    for text, words in topic.any_of.items():
        yield text, "any_of", words
    for text in topic.unknown:
        yield text, "unknown", ()
