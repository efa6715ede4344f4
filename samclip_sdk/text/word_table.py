"""What a text means among the words that a model was taught: `words.json` of a bundle.

A text is one of four things, in this order: a taught word; the same as one, in another word, number
or spelling; read as others, its kind, its general word's kinds or its head noun; or not known.
Everything a language needs for that is in the table, so that all packages read texts alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import StringConstraints, ValidationError

from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.system.records import Record, check_values, first_fault

Kind: TypeAlias = Literal["taught", "same", "read_as", "unknown"]

Text = Annotated[str, StringConstraints(min_length=1, max_length=100)]

MAX_TABLE_BYTES, MAX_TABLE_VALUES = 4 << 20, 60_000


@dataclass(frozen=True)
class Reading:
    """What a model takes a label for.

    Attributes:
        kind: "taught"; "same": a synonym, plural or spelling of a taught word; "read_as": its kind,
            its head noun or its general word; "unknown".
        words: the taught words that answer for it, any of them; of an unknown label the nearest.
        cosine: of an unknown label and the nearest word; None for all others.
    """

    kind: Kind
    words: tuple[str, ...]
    cosine: float | None = None

    @property
    def told(self) -> bool:
        """Whether an answer must say it: the label is read as another word, or is not known."""
        return self.kind in ("read_as", "unknown")

    def to_dict(self) -> dict[str, Any]:
        """The reading as JSON has it; `cosine` of an unknown label alone."""
        words = {"kind": self.kind, "words": list(self.words)}
        return words if self.cosine is None else {**words, "cosine": self.cosine}


def readings_dict(readings: Mapping[str, Reading]) -> dict[str, dict[str, Any]]:
    """Readings by label, as JSON has them."""
    return {label: each.to_dict() for label, each in readings.items()}


class WordTable(Record):
    """`words.json`. Texts are clean (`clean_text`); targets are taught words.

    Attributes:
        same: taught word -> texts that mean the same.
        read_as: taught word -> texts that it answers for, though they say less or more.
        any_of: text -> the taught words of which each answers for it.
        unknown: texts that are not read by their last word, or by any other.
        joints: words after which a text says more of what stands before them, such as "with".
        measures: words whose "of" says what is measured: a slice of bread is bread.
        articles: first words that say nothing here, such as "a".
    """

    schema_version: Literal[1] = 1
    same: dict[Text, tuple[Text, ...]]
    read_as: dict[Text, tuple[Text, ...]]
    any_of: dict[Text, tuple[Text, ...]]
    unknown: tuple[Text, ...]
    joints: tuple[Text, ...]
    measures: tuple[Text, ...]
    articles: tuple[Text, ...]

    def reader(self, words: Sequence[str]) -> WordReader:
        """Returns what reads texts for a model that was taught `words`."""
        return WordReader(self, words)


class WordReader:
    """Reads texts by a table.

    Args:
        table: the table.
        words: the taught words, clean; targets that are not among them are left out.
    """

    def __init__(self, table: WordTable, words: Sequence[str]) -> None:
        self._table = table
        self._words = dict.fromkeys(words)

    def read(self, text: str) -> Reading | None:
        """Reads a clean text; None if it is not known, and its nearest words must be looked up."""
        found = self._find(text)
        if found is None:
            parts = text.split()
            if len(parts) > 1 and parts[0] in self._table.articles:
                parts = parts[1:]
                found = self._find(" ".join(parts))
                if found is not None and found.kind == "taught":
                    found = Reading("same", found.words)
            if found is None:
                return self._read_head(parts)
        return found if found.words else None

    def _read_head(self, parts: Sequence[str]) -> Reading | None:
        """Reads the longest end of what a text's parts name: its head noun is its last word."""
        head = self._head(parts)
        for start in range(len(head)):
            found = self._find(" ".join(head[start:]))
            if found is not None:
                return Reading("read_as", found.words) if found.words else None
        return None

    def _head(self, parts: Sequence[str]) -> Sequence[str]:
        """The parts before the first joint; after "of", if a measure stands before it."""
        indices = (index for index, part in enumerate(parts) if part in self._table.joints)
        joint = next((index for index in indices if index), None)
        if joint is None:
            return parts
        before, after = parts[:joint], parts[joint + 1 :]
        measures = {before[-1], *_singulars(before[-1])} & set(self._table.measures)
        if parts[joint] == "of" and after and measures:
            rest = after[1:] if after[0] in self._table.articles else after
            return self._head(rest)
        return before

    def _find(self, text: str) -> Reading | None:
        """Looks a text up: as it is, in another spelling, in the singular. No words: not known."""
        if text in self._words:
            return Reading("taught", (text,))
        for form in (text, *_singulars(text)):
            found = self._index.get(_key(form))
            if found is not None:
                return found
        return None

    @cached_property
    def _index(self) -> Mapping[str, Reading]:
        """The spelling of each text in the table, without spaces and hyphens -> its reading."""
        index: dict[str, Reading] = {}
        for text, found in self._entries():
            index.setdefault(_key(text), found)
        return index

    def _entries(self) -> Iterator[tuple[str, Reading]]:
        """Yields what is in the table; of two readings of one text the first counts."""
        table = self._table
        for word in self._words:
            yield word, Reading("same", (word,))
        for text in table.unknown:
            yield text, Reading("unknown", ())
        for text, kinds in table.any_of.items():
            taught = tuple(kind for kind in kinds if kind in self._words)
            yield text, Reading("read_as" if taught else "unknown", taught)
        for kind, texts_of in (("same", table.same), ("read_as", table.read_as)):
            for word, texts in texts_of.items():
                if word in self._words:
                    for text in texts:
                        yield text, Reading(kind, (word,))  # type: ignore[arg-type]


def _key(text: str) -> str:
    """A text without what spellings differ in: "t shirt", "t-shirt" and "tshirt" are one."""
    return text.replace("-", "").replace(" ", "")


def _singulars(text: str) -> list[str]:
    """What a text may be the plural of; most of them are no words, and so in no table."""
    forms = []
    if len(text) > 3 and text.endswith("s") and not text.endswith("ss"):
        forms.append(text[:-1])
        if text.endswith("es"):
            forms.append(text[:-2])
        if text.endswith("ies"):
            forms.append(text[:-3] + "y")
        if text.endswith("ves"):
            forms += [text[:-3] + "f", text[:-3] + "fe"]
    return forms


def read_table(path: str | os.PathLike[str]) -> WordTable:
    """Reads a `words.json`.

    Raises:
        BundleError: the file cannot be read, is too large, or is no such table.
    """
    name = one_line(path)
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise BundleError(f"cannot read {name}: {error.strerror}") from error
    if len(content) > MAX_TABLE_BYTES:
        raise BundleError(f"{name} has more than {MAX_TABLE_BYTES} bytes")
    try:
        check_values(content, max_values=MAX_TABLE_VALUES)
        return WordTable.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{name} is not a table of words: {first_fault(error)}") from error
    except ValueError as error:
        raise BundleError(f"{name} is not a table of words: {error}") from error
