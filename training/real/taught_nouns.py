"""What a model that was taught by photographs can name."""

from __future__ import annotations

from collections import Counter

from samclip_sdk.text.tokenizer import clean_text
from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas
from training.text.relations import Relations

_PERSON = "person"
_SEEN_SHARE = 0.5  # of a word's uses, that mean what can be seen


def choose_taught(
    photographs: Photographs, *, relations: Relations, least: int, least_tags: int
) -> dict[str, int]:
    """Chooses the names that pictures of the split teach, and counts the pictures.

    Tags of pictures are often no things ("delicious", "asian"): a name that no mask or box has
    counts if it is, in lower case as WordNet spells it, a thing that a photograph can show. A
    tag tells as little of who somebody is ("lady", "cook").

    Args:
        photographs: of the split "train".
        relations: of nouns.
        least: pictures that show a name with a mask or box.
        least_tags: pictures that show any other.

    Returns:
        The names, cleaned, the one that most pictures show first, and how many do.
    """
    marked, tagged = Counter[str](), Counter[str]()
    for picture in range(len(photographs)):
        one = photographs[picture]
        concepts = {photographs.names[each] for each in one.concepts(one.numbers) if each >= 0}
        marked.update(concepts)
        tagged.update({photographs.names[each] for each in photographs.labels(picture)} - concepts)
    kept = {name for name in tagged if tagged[name] >= least_tags and _is_thing(name, relations)}
    kept |= {name for name in marked if marked[name] + tagged[name] >= least}
    shown = {clean_text(name): marked[name] + tagged[name] for name in sorted(kept)}
    return dict(sorted(shown.items(), key=lambda each: -each[1]))


def _is_thing(name: str, relations: Relations) -> bool:
    """Whether a tag is a noun of something that can be seen, and of nobody in particular."""
    if name == _PERSON:
        return True
    if relations.senses.uses(name)[1] < _SEEN_SHARE:
        return False
    person = relations.senses.of(_PERSON)[:1]
    above = relations.wordnet.above
    return any(not {each, *above(each)}.issuperset(person) for each in relations.senses.shown(name))


def class_numbers() -> dict[str, tuple[int, ...]]:
    """The names of ImageNet's classes, cleaned, with the numbers of the classes of each."""
    found: dict[str, list[int]] = {}
    for number, lemmas in enumerate(imagenet_lemmas()):
        for lemma in lemmas:
            found.setdefault(clean_text(lemma), []).append(number)
    return {name: tuple(dict.fromkeys(numbers)) for name, numbers in found.items()}
