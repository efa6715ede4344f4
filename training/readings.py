"""What WordNet says of texts that are no taught words: the same, a kind, a general word, no such.

`make_table` puts it together with what a person has said; see `word_exceptions.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from samclip_sdk.text.tokenizer import clean_text
from samclip_sdk.text.word_table import WordReader, WordTable
from training.real.taught_nouns import taught_words
from training.text.common_nouns import minilm_pieces, noun_cost, plural_of
from training.text.relations import Relations
from training.text.senses import Senses
from training.text.word_exceptions import WordExceptions

MAX_WORDS = 16  # that answer for one text

_PERSON = "person"
_ANIMAL, _FOOD, _PLANTS = 5, 13, (20, 27)  # lexicographer files; the last: plants, substances
_NEAR = 0.5  # of the count of a text's commonest sense: another sense that counts as much
_CLEAR = 3  # times as often as a thing must a person be meant by a word
_MIN = 3  # times must a text mean what can be seen, if it means something else more often

Entry = tuple[str, tuple[str, ...]]
"""A kind, "same", "read_as", "any_of" or "unknown", and the taught words."""

_UNKNOWN: Entry = ("unknown", ())


def make_table(
    taught: Sequence[str],
    *,
    relations: Relations,
    exceptions: WordExceptions,
    count: int,
    compounds: int,
    pieces: Callable[[str], Sequence[int]] = minilm_pieces,
) -> WordTable:
    """Makes the table of what texts mean among taught words.

    Args:
        taught: the taught words, clean.
        relations: of a WordNet.
        exceptions: what a person has said, which comes before all else.
        count: of the commonest nouns that are looked up in WordNet.
        compounds: of the commonest nouns of several words, which are unknown where their last word
            says something wrong.
        pieces: gives the ids of a noun's word pieces.
    """
    readings = Readings(taught, relations=relations, exceptions=exceptions)
    nouns = _nouns(relations.senses, pieces)
    entries = dict(readings.said())
    said = {_spelled(text) for text in (*entries, *taught)}
    singles = [name for name in nouns if " " not in name]
    for name in (*singles[:count], *readings.synonyms()):
        if _spelled(name) not in said and (entry := readings.of(name)):
            entries[name] = entry
    entries |= _plurals(entries, taught, relations.senses, exceptions)
    reader = _table(entries, exceptions).reader(taught)
    several = [name for name in nouns if " " in name][:compounds]
    for name in several:
        if _spelled(name) not in said and (entry := readings.compound(name, reader)):
            entries[name] = entry
    strict = {text: _strict(text, entry) for text, entry in entries.items()}
    return _table(_needed(strict, taught, exceptions), exceptions)


class Readings:
    """What texts mean among taught words, by WordNet.

    Args:
        taught: the taught words, clean.
        relations: of a WordNet.
        exceptions: which taught words mean something else than WordNet's commonest sense, and how
            far below each its kinds are read as it.
    """

    def __init__(
        self, taught: Sequence[str], *, relations: Relations, exceptions: WordExceptions
    ) -> None:
        self._wordnet, self._senses = relations.wordnet, relations.senses
        self._said = exceptions.readings
        self._depth = exceptions.depth
        self._taught = dict.fromkeys(taught)
        self._meant: dict[str, tuple[int, ...]] = {}
        for word in taught_words(taught, relations=relations):
            known = tuple(each for each in word.senses if each in self._wordnet.synsets)
            for name in self._taught.keys() & word.names:
                senses = known or self._senses.of(name)[:1]
                meant = senses if word.known else ()
                self._meant[name] = exceptions.senses.get(name, meant)
        self._words: dict[int, tuple[str, ...]] = {}
        for name, senses in self._meant.items():
            for each in senses:
                self._words[each] = (*self._words.get(each, ()), name)
        self._below = self._kinds_below()
        self.reading = lru_cache(maxsize=None)(self._reading)

    def said(self) -> Iterator[tuple[str, Entry]]:
        """Yields what a person has said of texts, as far as the words are taught."""
        for text, (kind, words) in self._said.items():
            known = tuple(word for word in words if word in self._taught)
            if text not in self._taught and (known or kind == "unknown"):
                yield text, (kind, known)

    def synonyms(self) -> Iterator[str]:
        """Yields the other names of what taught words mean."""
        for sense in self._words:
            for name in self._wordnet.synsets[sense].names:
                if (cleaned := clean_text(name)) not in self._taught:
                    yield cleaned

    def of(self, text: str) -> Entry | None:
        """The entry of a noun; None if nothing is to be said of it.

        Of a plant and its fruit it is what one eats. All other senses that are as common as the
        commonest must have the same entry.
        """
        if text in self._taught:
            return None
        senses = self._commonest(text)
        files = {each: self._wordnet.synsets[each].file for each in senses}
        if _FOOD in files.values():
            senses = tuple(each for each in senses if files[each] not in _PLANTS)
        found = {self.reading(each) for each in senses}
        return found.pop() if len(found) == 1 else None

    def compound(self, text: str, reader: WordReader) -> Entry | None:
        """The entry of a noun of several words; None if what a reader says without it is right.

        That is right if each sense of the noun is a kind of what is read: not if that is any of
        several words, for a special kind of their general word is none of them.
        """
        if text in self._taught:
            return None
        own, read = self.of(text), reader.read(text)
        if read is None or (own is not None and own[0] == "same"):
            return own
        head = next((end for end in _ends(text) if reader.read(end) is not None), "")
        meant = {sense for word in read.words for sense in self._meant.get(word, ())}
        meant.update(self._commonest(head))
        senses = self._all(text)
        is_kind = all(meant & {each, *self._wordnet.above(each)} for each in senses)
        if len(read.words) > 1 or not is_kind:
            return own or _UNKNOWN
        is_nearer = own is not None and self._is_below(own[1], read.words)
        return own if is_nearer else None

    def _is_below(self, words: Sequence[str], others: Sequence[str]) -> bool:
        """Whether each taught word is a kind of others, and none of them."""
        meant = {sense for other in others for sense in self._meant.get(other, ())}
        above = [
            {up for sense in self._meant[word] for up in self._wordnet.above(sense)}
            for word in words
        ]
        return set(words).isdisjoint(others) and all(each & meant for each in above)

    def _reading(self, sense: int) -> Entry | None:
        """The entry of a sense."""
        if sense in self._words:
            return "same", self._words[sense][:1]
        above, below = self._above(sense), self._below.get(sense, ())
        is_animal = self._wordnet.synsets[sense].file == _ANIMAL
        few = below if is_animal and len(below) <= MAX_WORDS else ()
        if few and (above is None or len(few) > 1):
            return "any_of", few
        return None if above is None else ("read_as", above)

    def _above(self, sense: int) -> tuple[str, ...] | None:
        """The nearest taught word of which a sense is a kind, if it is near enough."""
        level, seen, depth = [sense], {sense}, 0
        while level:
            depth += 1
            level = [up for each in level for up in self._wordnet.synsets[each].parents]
            level = [each for each in dict.fromkeys(level) if each not in seen]
            seen.update(level)
            for each in level:
                if each in self._words:
                    word = self._words[each][0]
                    maximum = self._depth.get(word, self._depth.get("", 0))
                    return (word,) if depth <= maximum else None
        return None

    def _kinds_below(self) -> Mapping[int, tuple[str, ...]]:
        """Offset -> the taught words that are a kind of it, the top ones only."""
        found: dict[int, dict[str, None]] = {}
        for sense, words in self._words.items():
            up = [*self._wordnet.above(sense)]
            for each in up:
                found.setdefault(each, {})[words[0]] = None
        above = {
            word: {
                name
                for sense in self._meant[word]
                for each in self._wordnet.above(sense)
                for name in self._words.get(each, ())
            }
            for word in self._meant
        }
        return {
            sense: tuple(word for word in words if not above[word] & set(words))
            for sense, words in found.items()
        }

    def _all(self, text: str) -> tuple[int, ...]:
        """All senses of a noun that are no names of somebody or some place."""
        listed = self._senses.listed(text)
        common = [each for each in listed if not self._senses.is_proper(each, text)]
        return tuple(common or (each for each in listed if self._wordnet.synsets[each].parents))

    def _commonest(self, text: str) -> tuple[int, ...]:
        """The senses that a text may mean, each about as often: none, if it means no thing."""
        senses = self._all(text)
        shown = [each for each in senses if self._senses.is_visible(each)]
        if not shown:
            return ()
        counts = Counter({each: self._senses.count(text, each) for each in senses})
        first = max(shown, key=lambda each: counts[each])
        others = sum(counts[each] for each in senses if each not in shown)
        if senses[0] not in shown and counts[first] < max(_MIN, _NEAR * others):
            return ()
        near = [each for each in shown if counts[each] >= _NEAR * counts[first]]
        people = [each for each in shown if self._is_person(each)]
        if people and len(people) < len(shown):
            of_people = sum(counts[each] for each in people)
            of_things = sum(counts[each] for each in shown) - of_people
            if of_people > _CLEAR * of_things:
                return tuple(people[:1])
            if not 0 < _CLEAR * of_people < of_things and set(near) & set(people):
                return tuple(shown)
        return tuple(near)

    def _is_person(self, sense: int) -> bool:
        people = self._meant.get(_PERSON, ())
        return sense in people or any(each in people for each in self._wordnet.above(sense))


def _strict(text: str, entry: Entry) -> Entry:
    """The entry of a text; one that says a part of its word, or more, is not the same: "fan"."""
    kind, words = entry
    own = set(text.split())
    if kind == "same" and (own < set(words[0].split()) or own > set(words[0].split())):
        return "read_as", words
    return entry


def _nouns(senses: Senses, pieces: Callable[[str], Sequence[int]]) -> list[str]:
    """All nouns of WordNet but names of persons and places, the commonest first."""
    names = dict.fromkeys(
        clean_text(name)
        for synset in senses.wordnet.synsets.values()
        if not synset.is_instance
        for name in synset.names
    )
    spelled = [name for name in names if len(name) > 1 and _is_spelled(name)]
    costs = {name: noun_cost(senses, name, pieces(name)) for name in spelled}
    return sorted(costs, key=lambda name: (costs[name], name))


def _is_spelled(name: str) -> bool:
    return all(letter.isalpha() or letter in " -'" for letter in name)


def _plurals(
    entries: Mapping[str, Entry],
    taught: Sequence[str],
    senses: Senses,
    exceptions: WordExceptions,
) -> dict[str, Entry]:
    """Irregular plurals of what has an entry: each is as it is in the singular."""
    reader = _table(entries, exceptions).reader(taught)
    words: dict[str, Entry] = {word: ("same", (word,)) for word in taught}
    found = dict[str, Entry]()
    for name, entry in {**words, **entries}.items():
        plural = plural_of(name, irregular=senses.plurals) if " " not in name else None
        if plural is None or plural in entries or plural in words or entry == _UNKNOWN:
            continue
        if reader.read(plural) is None:
            found[plural] = entry
    return found


def _needed(
    entries: Mapping[str, Entry], taught: Sequence[str], exceptions: WordExceptions
) -> dict[str, Entry]:
    """Leaves out what is read alike without its entry: by its head noun, or in another spelling."""
    reader = _table(entries, exceptions).reader(taught)
    joints = set(exceptions.rule.joints)
    kept: dict[str, Entry] = {}
    for text in sorted(entries, key=lambda each: (-each.count(" "), each)):
        if not joints.isdisjoint(text.split()) or _is_needed(text, entries[text], reader):
            kept[text] = entries[text]
    spelled = {_spelled(text): text for text in reversed([*kept])}
    return {text: kept[text] for text in sorted(spelled.values())}


def _is_needed(text: str, entry: Entry, reader: WordReader) -> bool:
    """Whether a text is read otherwise without its entry, or may be in another spelling."""
    ends = [*_ends(text)]
    if not ends:
        spelled = (text[start:] for start in range(1, len(text) - 2))
        return entry != _UNKNOWN or any(reader.read(end) is not None for end in spelled)
    read = next(filter(None, map(reader.read, ends)), None)
    if entry == _UNKNOWN:
        return read is not None
    return entry[0] == "same" or read is None or set(read.words) != set(entry[1])


def _spelled(text: str) -> str:
    """A text without what spellings differ in; see `WordReader`."""
    return text.replace(" ", "").replace("-", "")


def _ends(text: str) -> Iterator[str]:
    """Yields the last words of a text, the most first, not all of them."""
    words = text.split()
    return (" ".join(words[start:]) for start in range(1, len(words)))


def _table(entries: Mapping[str, Entry], exceptions: WordExceptions) -> WordTable:
    same: dict[str, list[str]] = {}
    read_as: dict[str, list[str]] = {}
    any_of: dict[str, tuple[str, ...]] = {}
    unknown = []
    for text, (kind, words) in sorted(entries.items()):
        if kind == "unknown":
            unknown.append(text)
        elif kind == "any_of" and len(words) > 1:
            any_of[text] = words[:MAX_WORDS]
        else:
            (same if kind == "same" else read_as).setdefault(words[0], []).append(text)
    rule = exceptions.rule
    return WordTable(
        same={word: tuple(same[word]) for word in sorted(same)},
        read_as={word: tuple(read_as[word]) for word in sorted(read_as)},
        any_of=any_of,
        unknown=tuple(unknown),
        joints=rule.joints,
        measures=rule.measures,
        articles=rule.articles,
    )
