"""Names of ImageNet's 1,000 classes: synonyms, what each is a kind of, and what is a kind of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor

from training.text.held_out import is_held_out
from training.text.wordnet import WordNet

_MAX_CLASSES = 200  # below a name; those of more say next to nothing of how a thing looks


@dataclass(frozen=True)
class ClassNames:
    """Names with the classes that each stands for.

    Attributes:
        direct: the first name of each class, in the classifier's order.
        names: all names to learn from, each once.
        classes: float32 [N,C], the share of each class in what a name stands for; rows sum to 1.
        held_out: synonyms that are not among `names`, with the class of each.
    """

    direct: tuple[str, ...]
    names: tuple[str, ...]
    classes: Tensor
    held_out: tuple[tuple[str, int], ...]


def imagenet_synsets() -> tuple[int, ...]:
    """The 1,000 classes' offsets in WordNet, in the order of every classifier."""
    labels = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]  # timm's
    return tuple(int(label.removeprefix("n")) for label in labels)


def imagenet_lemmas() -> tuple[tuple[str, ...], ...]:
    """The names of each of the 1,000 classes, in lower case, the first one first.

    They are in the order of every classifier. Some classes share a name, such as the two cranes.
    """
    described = ImageNetInfo("imagenet-1k").label_descriptions()
    return tuple(
        tuple(" ".join(name.lower().split()) for name in each.split(",")) for each in described
    )


def read_class_names(
    wordnet: WordNet, synsets: Iterable[int], *, held_out_share: float
) -> ClassNames:
    """Looks up the names of classes, of the offset of each; leaves a share of the synonyms out."""
    classes = tuple(synsets)
    direct = tuple(wordnet.synsets[offset].names[0] for offset in classes)
    own, above, below = _kinds(wordnet, classes)
    shares: dict[str, dict[int, float]] = {}
    left_out: list[tuple[str, int]] = []
    for offset, members in (own | above | below).items():
        for name in wordnet.synsets[offset].names:
            if name not in direct and is_held_out(name, share=held_out_share):
                if offset in own:
                    left_out.append((name, members[0]))
                continue
            for member in members:
                found = shares.setdefault(name, {})
                found[member] = found.get(member, 0) + 1 / len(members)
    matrix = torch.zeros(len(shares), len(classes))
    for row, found in enumerate(shares.values()):
        for member, share in found.items():
            matrix[row, member] = share / sum(found.values())
    return ClassNames(direct, tuple(shares), matrix, tuple(left_out))


def _kinds(
    wordnet: WordNet, classes: tuple[int, ...]
) -> tuple[dict[int, list[int]], dict[int, list[int]], dict[int, list[int]]]:
    """The synsets that are classes, those above them and those below: each with its classes."""
    own = {offset: [index] for index, offset in enumerate(classes)}
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for index, offset in enumerate(classes):
        for other in wordnet.above(offset):
            above.setdefault(other, []).append(index)
        for other in wordnet.below(offset):
            below.setdefault(other, []).append(index)
    few = {key: found for key, found in above.items() if len(found) <= _MAX_CLASSES}
    return (
        own,
        {key: found for key, found in few.items() if key not in own},
        {key: found for key, found in below.items() if key not in own | few},
    )
