"""The words that a model is to know, and what each is to those that images teach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from training.text.relations import Relations

_FEW = 3  # kinds, of fewer a word is no mean

Relation = Literal["taught", "synonym", "hypernym", "kind", "near", "alone"]


@dataclass(frozen=True)
class TaughtWord:
    """A word with one embedding that images teach.

    Attributes:
        names: all that it is called, the first one for people to read.
        senses: offsets in WordNet; of a name that WordNet does not know, those of its head noun.
        classes: numbers of ImageNet's classes that it is.
        known: whether the senses are its own, and no head noun's.
    """

    names: tuple[str, ...]
    senses: tuple[int, ...]
    classes: tuple[int, ...] = ()
    known: bool = True


@dataclass(frozen=True)
class Place:
    """The relation of a word, or of one of its senses, to the taught words.

    Attributes:
        relation: "synonym"; "hypernym", if those are kinds of it, three or more; "kind", if it is
            one of theirs and not told apart from them; "near", if it is related to one otherwise.
        words: the taught words, by their numbers; none, if it is "alone".
    """

    relation: Relation
    words: tuple[int, ...] = ()


def group_taught(
    relations: Relations,
    names: Sequence[str],
    *,
    classes: Mapping[str, tuple[int, ...]],
    synsets: Sequence[int],
) -> tuple[TaughtWord, ...]:
    """Puts taught names together that mean the same: synonyms, and plurals.

    The names are cleaned; `classes` has those of ImageNet's classes, with their numbers, and
    `synsets` the offset of each class.
    """
    of_synset = {offset: (number,) for number, offset in enumerate(synsets)}
    groups: dict[object, list[str]] = {}
    for name in dict.fromkeys([*names, *classes]):
        senses = relations.senses.of(name)
        key: object = classes.get(name)
        if key is None and senses:
            key = next((of_synset[each] for each in senses if each in of_synset), senses[0])
        if key is None:
            lemmas = relations.senses.lemmas(name)
            key = next((each for each in lemmas if each in names), name)
        groups.setdefault(key, []).append(name)
    return tuple(_group(relations, found, key, synsets) for key, found in groups.items())


def _group(
    relations: Relations, names: list[str], key: object, synsets: Sequence[int]
) -> TaughtWord:
    if isinstance(key, tuple):
        return TaughtWord(tuple(names), tuple(synsets[each] for each in key), classes=key)
    if isinstance(key, int):
        return TaughtWord(tuple(names), (key,))
    return TaughtWord(tuple(names), relations.head_or_self(names[0])[:1], known=False)


def stray_names(
    relations: Relations, word: TaughtWord, alike: Callable[[str, str], bool]
) -> tuple[str, ...]:
    """Names of a class that mean something else first, and are not `alike` its first name.

    ImageNet calls a cleaver a chopper, which is a helicopter to others.
    """
    first, *others = word.names
    means = {name: relations.senses.of(name)[:1] for name in others if word.classes}
    return tuple(
        name
        for name, sense in means.items()
        if sense and sense[0] not in word.senses and not alike(name, first)
    )


class Places:
    """Finds where words stand beside the taught ones.

    Args:
        taught: the words, which are told by their numbers.
    """

    def __init__(self, relations: Relations, taught: Sequence[TaughtWord]) -> None:
        self.relations = relations
        self._is: dict[int, list[int]] = {}  # offset -> the taught words that mean it
        self._at: dict[int, list[int]] = {}  # the same, by whatever else their names mean
        self._below: dict[int, list[int]] = {}  # offset -> the taught words that are a kind of it
        for number, word in enumerate(taught):
            above = {up for each in word.senses for up in relations.wordnet.above(each)}
            for each in self.meant(word):
                self._at.setdefault(each, []).append(number)
            for each in word.senses if word.known else ():
                self._is.setdefault(each, []).append(number)
            for each in above if word.known else above.union(word.senses):
                self._below.setdefault(each, []).append(number)

    def meant(self, word: TaughtWord) -> frozenset[int]:
        """The senses of a taught word, and what else is meant by names that mean one of them.

        A class has only those in its own lexicographer file: a chest is no part of a body.
        """
        if not word.known:
            return frozenset()
        synsets = self.relations.wordnet.synsets
        files = {synsets[each].file for each in word.senses}
        others = (set(self.relations.senses.of(name)) for name in word.names)
        found = frozenset[int]().union(
            *(each for each in others if not each.isdisjoint(word.senses))
        )
        same = (each for each in found if not word.classes or synsets[each].file in files)
        return frozenset((*word.senses, *same))

    def kinds(self, word: TaughtWord) -> tuple[int, ...]:
        """The taught words that are a kind of one of them."""
        found = (each for sense in word.senses for each in self._below.get(sense, ()))
        return tuple(dict.fromkeys(found)) if word.known else ()

    def of(self, name: str, *, alike: Sequence[bool] | None = None) -> tuple[Place, ...]:
        """Returns the places of a word that is not taught, by each of its senses, commonest first.

        A name that WordNet does not know is a kind of its head noun. Of each taught word, `alike`
        tells whether it may count by what else its names mean: a fool is a mug in WordNet, too.
        """
        senses, wordnet = self.relations.senses.of(name), self.relations.wordnet
        found = [self._sense(each, wordnet.above(each), alike) for each in senses]
        if not senses:
            heads = self.relations.head_or_self(name)
            found = [self._unknown((each, *wordnet.above(each)), alike) for each in heads]
        return tuple(found) or (Place("alone"),)

    def _sense(self, sense: int, above: Iterable[int], alike: Sequence[bool] | None) -> Place:
        if words := self._meaning(sense, alike):
            return Place("synonym", words)
        place, kinds = self._unknown(above, alike), tuple(self._below.get(sense, ()))
        if len(kinds) >= _FEW:
            return Place("hypernym", kinds)
        return Place("near", kinds) if kinds and place.relation != "kind" else place

    def _unknown(self, above: Iterable[int], alike: Sequence[bool] | None) -> Place:
        """A kind of the nearest taught word above, if there is one that tells something."""
        low = filter(self.relations.is_low, above)
        found = next(filter(None, (self._meaning(each, alike) for each in low)), None)
        return Place("alone") if found is None else Place("kind", found)

    def _meaning(self, sense: int, alike: Sequence[bool] | None) -> tuple[int, ...]:
        """The taught words that mean a sense, or else those that can."""
        if sense in self._is:
            return tuple(self._is[sense])
        found = self._at.get(sense, ())
        return tuple(each for each in found if alike is None or alike[each])
