"""What a model that was taught by photographs can name: the nouns that a bundle brings."""

from __future__ import annotations

from collections import Counter

from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas
from training.text.wordnet import WordNet

_LEAST_PICTURES = 2


def choose_taught(photographs: Photographs, *, wordnet: WordNet) -> list[str]:
    """Chooses the nouns that pictures of the split show, and those of ImageNet's classes.

    Tags of pictures are often no things ("delicious", "asian"): a name of photographs counts if two
    pictures show it and if it is, in lower case as WordNet spells it, a thing that a photograph can
    show. Of the classes, whose names the text teacher knows, it is the first name of each.

    Args:
        photographs: of the split "train".
        wordnet: tells which names are such nouns.

    Returns:
        The nouns, sorted, each once.
    """
    visible = {name for synset in wordnet.visible() for name in synset.names}
    shown: Counter[str] = Counter()
    for picture in range(len(photographs)):
        one = photographs[picture]
        concepts = {*one.concepts(one.numbers).tolist(), *photographs.labels(picture)} - {-1}
        shown.update(photographs.names[each] for each in concepts)
    taught = {name for name, count in shown.items() if count >= _LEAST_PICTURES}
    return sorted((taught & visible) | {lemmas[0] for lemmas in imagenet_lemmas()})
