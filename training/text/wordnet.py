"""WordNet's nouns, from the files of Princeton's own format (Debian's package `wordnet-base`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from training.errors import TrainingError

WORDNET = Path("/usr/share/wordnet")
"""The folder of Debian's package."""

_DATA = "data.noun"
_INSTANCE = "@i"
_HYPERNYMS = ("@", _INSTANCE)
_LICENCE_INDENT = "  "  # the lines before the first entry
_Line = TypeVar("_Line")

VISIBLE = frozenset((5, 6, 8, 13, 15, 17, 18, 20, 27))
"""Lexicographer files of things that a photograph can show.

Animals, artifacts, bodies, food, locations, objects, persons, plants and substances.
"""


@dataclass(frozen=True)
class Synset:
    """One meaning.

    Attributes:
        offset: its place in data.noun, which ImageNet calls it by: n02084071 is a dog.
        file: number of its lexicographer file; see `VISIBLE`.
        names: its synonyms, the commonest first, with spaces.
        parents: offsets of the synsets that it is a kind of, or an instance of.
        gloss: its definition, with examples behind semicolons.
        is_instance: whether it is a certain person, place or other single thing.
    """

    offset: int
    file: int
    names: tuple[str, ...]
    parents: tuple[int, ...]
    gloss: str
    is_instance: bool = False


class WordNet:
    """The nouns by offset.

    Args:
        folder: that holds `data.noun` of WordNet 3.0.

    Raises:
        TrainingError: it does not, or the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        check_wordnet(folder)
        self.folder = folder
        self.synsets = {each.offset: each for each in parse_lines(folder / _DATA, _synset)}

    @cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """Offset -> the offsets of those that are a kind of it."""
        below: dict[int, list[int]] = {}
        for synset in self.synsets.values():
            for parent in synset.parents:
                below.setdefault(parent, []).append(synset.offset)
        return {offset: tuple(children) for offset, children in below.items()}

    def above(self, offset: int) -> Iterator[int]:
        """Yields whatever a synset is a kind of, nearest first, each once; not itself."""
        yield from _walk(offset, lambda each: self.synsets[each].parents)

    def below(self, offset: int) -> Iterator[int]:
        """Yields whatever is a kind of a synset, nearest first, each once; not itself."""
        yield from _walk(offset, lambda each: self.children.get(each, ()))

    def visible(self) -> Iterator[Synset]:
        """Yields what a photograph can show."""
        return (synset for synset in self.synsets.values() if synset.file in VISIBLE)


def parse_lines(path: Path, parse: Callable[[str], _Line]) -> list[_Line]:
    """Parses the lines of one of WordNet's files; raises TrainingError if it is damaged."""
    try:
        with path.open(encoding="utf-8") as lines:
            return [parse(line) for line in lines if not line.startswith(_LICENCE_INDENT)]
    except (OSError, ValueError, IndexError) as error:
        raise TrainingError(f"{path} is not WordNet's: {error}") from error


def check_wordnet(folder: Path) -> None:
    """Looks for WordNet's nouns; raises TrainingError if they are not in `folder`."""
    if not (folder / _DATA).is_file():
        raise TrainingError(
            f"there is no WordNet in {folder} (no {_DATA}): apt-get install wordnet-base, or say "
            "with `wordnet` where it is"
        )


def _walk(start: int, step: Callable[[int], Sequence[int]]) -> Iterator[int]:
    seen, level = {start}, [start]
    while level:
        level = [each for above in level for each in step(above)]
        level = [each for each in dict.fromkeys(level) if each not in seen]
        seen.update(level)
        yield from level


def _synset(line: str) -> Synset:
    """Parses `offset file type count word id ... count (pointer offset pos places)... | gloss`."""
    fields, _, gloss = line.partition(" | ")
    words = fields.split()
    count = int(words[3], 16)
    names = tuple(word.replace("_", " ") for word in words[4 : 4 + 2 * count : 2])
    rest = words[4 + 2 * count :]
    pointers = [rest[1 + 4 * index : 5 + 4 * index] for index in range(int(rest[0]))]
    return Synset(
        offset=int(words[0]),
        file=int(words[1]),
        names=names,
        parents=tuple(int(to) for kind, to, *_ in pointers if kind in _HYPERNYMS),
        gloss=gloss.strip(),
        is_instance=any(kind == _INSTANCE for kind, *_ in pointers),
    )
