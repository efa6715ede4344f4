"""The nouns that a model can name after training on photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from samclip_sdk.text.tokenizer import clean_text
from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas, imagenet_synsets
from training.text.lexicon import TaughtWord, group_taught
from training.text.relations import Relations
from training.text.senses import Senses

_PERSON = "person"
_MIN, _MIN_TAGS = 2, 5  # images that show a name, with a mask or box, and any other
_MEANT_OFTEN = 20  # times in the texts that WordNet counted
_SEEN_SHARE = 0.5  # of a word's uses, that mean what can be seen


def choose_taught(photographs: Photographs, *, relations: Relations) -> dict[str, int]:
    """Chooses the names that images of the split "train" teach, and counts the images.

    Tags of images are often no things ("delicious", "asian"): a name that no mask or box has
    counts if it is, in lower case as WordNet spells it, a thing that a photograph can show. A
    tag tells as little of who somebody is ("lady", "cook").

    Returns:
        The names, cleaned, the one that most images show first, and how many do.
    """
    marked, tagged = Counter[str](), Counter[str]()
    for image in range(len(photographs)):
        one = photographs[image]
        concepts = {photographs.names[each] for each in one.concepts(one.numbers) if each >= 0}
        marked.update(concepts)
        tagged.update({photographs.names[each] for each in photographs.labels(image)} - concepts)
    kept = {name for name in tagged if tagged[name] >= _MIN_TAGS and _is_thing(name, relations)}
    kept |= {name for name in marked if marked[name] + tagged[name] >= _MIN}
    shown = {clean_text(name): marked[name] + tagged[name] for name in sorted(kept)}
    return dict(sorted(shown.items(), key=lambda each: -each[1]))


def taught_words(shown: Iterable[str], *, relations: Relations) -> tuple[TaughtWord, ...]:
    """The words that names of photographs and those of ImageNet's classes are together.

    Names that are to stand for their synonyms come first.
    """
    classes = class_numbers(relations.senses)
    return group_taught(relations, [*shown], classes=classes, synsets=imagenet_synsets())


def _is_thing(name: str, relations: Relations) -> bool:
    """Returns whether a tag is a noun of something visible that is not a person."""
    if name == _PERSON:
        return True
    seen, share, _ = relations.senses.uses(name)
    if share < _SEEN_SHARE and seen / share > _MEANT_OFTEN:
        return False
    people, above = set(relations.senses.of(_PERSON)[:1]), relations.wordnet.above
    return any(people.isdisjoint({each, *above(each)}) for each in relations.senses.shown(name))


def class_numbers(senses: Senses) -> dict[str, tuple[int, ...]]:
    """The names of ImageNet's classes, cleaned, with the numbers of the classes of each.

    A class's other names are left out where they mean something else first: no light is a lighter,
    no head a promontory. So is its first name, if that means something else very often and the
    class has another: a plane is an aircraft, and a carpenter's plane goes by that name.
    """
    found: dict[str, list[int]] = {}
    offsets = imagenet_synsets()
    for number, lemmas in enumerate(imagenet_lemmas()):
        own = {name for name in lemmas if offsets[number] in senses.of(name)}
        for name in lemmas:
            first = name == lemmas[0] and _count(senses, name) <= _MEANT_OFTEN
            if name in own or first or not own:
                found.setdefault(clean_text(name), []).append(number)
    return {name: tuple(dict.fromkeys(numbers)) for name, numbers in found.items()}


def class_names(senses: Senses) -> tuple[str, ...]:
    """The first name of each of ImageNet's classes that `class_numbers` leaves it."""
    first: dict[int, str] = {}
    for name, numbers in class_numbers(senses).items():
        for number in numbers:
            first.setdefault(number, name)
    return tuple(first[number] for number in sorted(first))


def _count(senses: Senses, name: str) -> int:
    """Returns the count of a name's commonest sense."""
    return max((senses.count(name, each) for each in senses.of(name)), default=0)
