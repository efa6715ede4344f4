"""The meanings of a noun: WordNet's senses of a name, of its plural and of its head noun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from samclip_sdk.text.tokenizer import clean_text
from training.text.wordnet import VISIBLE, WordNet, parse_lines

_INDEX, _COUNTS, _IRREGULAR = "index.noun", "cntlist.rev", "noun.exc"
_NOUN = "1"  # the type of a sense, in its key

_TOPS = 3  # the lexicographer file of person, animal, plant and food, beside what nobody sees
_BODILY = "physical entity"
_ANIMAL, _PERSON = 5, 18
_MAX_SENSES, _MAX_UNCOUNTED = 2, 3
_MIN_SHARE = 0.25  # of how often the commonest sense is meant, for another to count
_OFTENER = 7  # than an animal, and once more, a person must be meant by its name: man, not whale
_MANY_KINDS = 100  # below a sense that counts, however seldom a text means it: food as such

_PEOPLE = {"people": ("person",)}
"""A plural that WordNet knows as a word of its own alone, a group."""

_MEANT = {
    "human": "person",
    "humans": "person",
    "bunny": "rabbit",
    "speaker": "loudspeaker",
    "male": "man",
    "female": "woman",
    "adult": "man",
    "queen": "king",
    "bull": "ox",
    "calf": "cow",
    "dolphin": "bottlenose dolphin",
    "seal": "earless seal",
    **dict.fromkeys(("head", "flag", "napkin", "ladder", "cable", "socket"), ""),
}
"""Of whom speaks of images, what some nouns mean; nothing, where no sense of WordNet's is it."""

_ENDINGS = {
    "ies": "y",
    "ches": "ch",
    "shes": "sh",
    "ses": "s",
    "xes": "x",
    "zes": "z",
    "men": "man",
    "s": "",
}

_BEFORE_REST = (" of ", " on ", " in ", " at ", " with ")  # the noun stands before these


class Senses:
    """The senses of nouns, by how often they are meant.

    Args:
        wordnet: of a folder that also holds `index.noun`, `cntlist.rev` and `noun.exc`.

    Raises:
        TrainingError: it does not, or one of them is damaged.
    """

    def __init__(self, wordnet: WordNet) -> None:
        self.wordnet = wordnet
        self._index = dict(parse_lines(wordnet.folder / _INDEX, _offsets))
        counted = [*parse_lines(wordnet.folder / _COUNTS, _count)]
        self._counts = {(lemma, index): n for lemma, index, n, is_noun in counted if is_noun}
        self._uses = Counter[str]()  # of a lemma as whatever part of speech
        for lemma, _, count, _ in counted:
            self._uses[lemma] += count
        self._irregular = dict(parse_lines(wordnet.folder / _IRREGULAR, _exception)) | _PEOPLE
        self._found = lru_cache(maxsize=None)(self._find)

    def of(self, name: str) -> tuple[int, ...]:
        """The offsets of what a name means by itself, the commonest first; none if it is unknown.

        It is looked up as it is, in one word ("cell phone": "cellphone") and as a plural. What is
        found is one or two things that a photograph can show, or three where no text tells which is
        commoner; only a name that means no such thing has its other senses.
        """
        return self._found(clean_text(name))

    def shown(self, name: str) -> list[int]:
        """Returns the senses of a noun, in WordNet's spelling, that a photograph can show."""
        listed = self.listed(name)
        return [each for each in listed if self.is_visible(each) and not self.is_proper(each, name)]

    def listed(self, spelling: str) -> tuple[int, ...]:
        """Returns all senses of a noun, in WordNet's spelling, the commonest first."""
        return self._index.get(spelling.replace(" ", "_"), ())

    def head(self, name: str) -> str | None:
        """The noun that a name of several words is a kind of: that of a "cup of tea" is a cup.

        Of a name that WordNet knows, the head counts if some sense of it is in the same
        lexicographer file: a dining table is a table, and a hot dog no dog.
        """
        cleaned = clean_text(name)
        own = {self.wordnet.synsets[each].file for each in self.of(cleaned)}
        starts = [cleaned.find(word) for word in _BEFORE_REST if word in cleaned]
        if starts and not own:
            before = cleaned[: min(starts)]
            return before if self.of(before) else self.head(before)
        words = cleaned.replace("-", " ").split()
        for start in range(1, len(words)):
            rest = " ".join(words[start:])
            files = {self.wordnet.synsets[each].file for each in self._all(rest)}
            if files & own if own else self.of(rest):
                return rest
        return None

    def lemmas(self, name: str) -> Iterator[str]:
        """Yields of what a cleaned name may be the plural, whether or not that is a noun."""
        first, space, last = name.rpartition(" ")
        for lemma in self._irregular.get(last, ()):
            yield f"{first}{space}{lemma}"
        for ending, singular in _ENDINGS.items():
            if len(last) > len(ending) and last.endswith(ending) and not last.endswith("ss"):
                yield name.removesuffix(ending) + singular

    def count(self, spelling: str, offset: int) -> int:
        """Returns the count of a noun's sense, in WordNet's spelling, in the texts it counted."""
        lemma = spelling.lower().replace(" ", "_")
        indices = self._index.get(lemma, ())
        return self._counts.get((lemma, indices.index(offset) + 1), 0) if offset in indices else 0

    def uses(self, name: str) -> tuple[int, float, bool]:
        """Returns the uses of a noun, in WordNet's spelling, in the texts that it counted.

        Returns:
            How often as what a photograph can show; which share that is of all uses, as verbs too,
            one more counted on either side; whether it is also somebody's name or a place's.
        """
        seen = sum(self.count(name, each) for each in self.shown(name))
        others = self._uses[name.replace(" ", "_")] - seen
        is_proper = any(self.is_proper(each, name) for each in self.listed(name))
        return seen, (seen + 1) / (seen + others + 1), is_proper

    @cached_property
    def plurals(self) -> dict[str, str]:
        """Irregular plurals by their singulars."""
        found: dict[str, str] = {}
        for plural, singulars in self._irregular.items():
            for singular in singulars:
                found.setdefault(singular, plural)
        return {singular: plural for singular, plural in found.items() if plural != "brethren"}

    def is_visible(self, offset: int) -> bool:
        """Returns whether a photograph can show a sense."""
        synset = self.wordnet.synsets[offset]
        if synset.file != _TOPS:
            return synset.file in VISIBLE
        above = self.wordnet.above(offset)
        return any(self.wordnet.synsets[each].names[0] == _BODILY for each in above)

    def is_proper(self, offset: int, spelling: str) -> bool:
        """Returns whether a sense is the name of a person or a place, such as the poet Crane."""
        return spelling not in self.wordnet.synsets[offset].names

    def _find(self, name: str) -> tuple[int, ...]:
        return next(filter(None, map(self._spelled, self._spellings(name))), ())

    def _all(self, name: str) -> tuple[int, ...]:
        """Returns all senses of a name."""
        return next(filter(None, map(self.listed, self._spellings(name))), ())

    def _spellings(self, name: str) -> Iterator[str]:
        """Yields under which names to look for one, the likeliest first."""
        for spelled in (name, *self.lemmas(name)):
            each = _MEANT.get(spelled, spelled)
            yield from (each, each.replace(" ", "-"), each.replace("-", " "))
            yield each.replace(" ", "").replace("-", "")

    def _spelled(self, spelling: str) -> tuple[int, ...]:
        senses = self.listed(spelling)
        found = [each for each in senses if not self.is_proper(each, spelling)] or [*senses]
        shown = [each for each in found if self.is_visible(each)]
        if not shown and spelling in self._irregular:
            return ()  # "men" are no more than a workforce in WordNet
        return self._commonest(spelling, shown or found)

    def _commonest(self, spelling: str, senses: Sequence[int]) -> tuple[int, ...]:
        counts = {each: self.count(spelling, each) for each in senses}
        files = {each: self.wordnet.synsets[each].file for each in senses}
        animals = [counts[each] for each in senses if files[each] == _ANIMAL]
        if animals:
            minimum = _OFTENER * (1 + sum(animals))
            senses = [x for x in senses if files[x] != _PERSON or counts[x] > minimum]
            counts = {each: counts[each] for each in senses}
        kinds = {each: len([*self.wordnet.below(each)]) for each in senses}
        if not any(counts.values()):
            # What has kinds is the commoner; whom a word calls names comes last: a toaster.
            order = sorted(senses, key=lambda each: (files[each] == _PERSON, -kinds[each]))
            return tuple(order[:_MAX_UNCOUNTED])
        maximum = max(counts.values())
        kept = [
            each
            for each, count in counts.items()
            if count >= _MIN_SHARE * maximum or kinds[each] >= _MANY_KINDS
        ]
        return tuple(sorted(kept, key=lambda each: -counts[each])[:_MAX_SENSES])


def _offsets(line: str) -> tuple[str, tuple[int, ...]]:
    """Parses `lemma type senses pointers ... tagged offset...`, the commonest sense first."""
    fields = line.split()
    return fields[0], tuple(int(each) for each in fields[-int(fields[2]) :])


def _count(line: str) -> tuple[str, int, int, bool]:
    """Parses `lemma%type:file:... place count`: the last tells whether it is a noun."""
    key, index, count = line.split()
    lemma, _, rest = key.partition("%")
    return lemma, int(index), int(count), rest.startswith(_NOUN)


def _exception(line: str) -> tuple[str, tuple[str, ...]]:
    """Parses `plural singular...`."""
    plural, *singular = line.replace("_", " ").split()
    return plural, tuple(singular)
