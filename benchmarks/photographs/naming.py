"""Zero-shot names of photographs: whether a right one comes first, or among the first five."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.photographs.figures import Bootstrap, kinds_of, mean
from benchmarks.photographs.record import PhotographSettings, TopK
from benchmarks.public.files import DatasetError, list_pictures
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.image import load_image
from samclip_sdk.text.tokenizer import clean_text
from training.real.coco_layout import clean_name
from training.real.photograph_questions import read_photograph
from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas

IMAGENET_LEAST_PX = 200
"""The long side of a picture that is to be told apart by ImageNet's classes."""

_FIRST = 5


@dataclass(frozen=True)
class Named:
    """Pictures with their right names, all of them among `names`, told apart by one model.

    Attributes:
        names: K, no two the same to a tokenizer.
        ranks: of each picture and each of `kinds`, how many wrong names come first; -1 where the
            picture has no right name of that kind. int [N,kinds].
        kinds: ways to be taught, "all" first.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    ranks: np.ndarray

    def rows(self, what: str, *, settings: PhotographSettings) -> Iterator[TopK]:
        """A row for each kind of names that some picture has."""
        bootstrap = Bootstrap(settings.resamples, settings.seed)
        for kind, ranks in zip(self.kinds, self.ranks.T, strict=True):
            owners = np.flatnonzero(ranks >= 0)
            if len(owners):
                top1, top5 = (
                    bootstrap.estimate(mean(ranks[owners] < first), owners=owners)
                    for first in (1, _FIRST)
                )
                yield TopK(
                    names=what,
                    taught=kind,
                    pictures=len(owners),
                    labels=len(self.names),
                    top1=top1,
                    top5=top5,
                )


def rank_of_truth(scores: np.ndarray, *, right: Sequence[int], passed_over: Sequence[int]) -> int:
    """How many wrong names score as high as the best right one; a tie counts against the model.

    Args:
        scores: float [K].
        right: places of right names, one or more.
        passed_over: places of names that are neither right nor wrong.
    """
    wrong = np.ones(len(scores), bool)
    wrong[[*right, *passed_over]] = False
    return int((scores[wrong] >= scores[list(right)].max()).sum())


def name_pictures(
    model: SamClip,
    pictures: Iterator[tuple[np.ndarray, frozenset[str]]],
    *,
    names: Sequence[str],
    taught: dict[str, str],
) -> Named:
    """Classifies pictures, uint8 [H,W,3], each with its right names, among all names."""
    distinct = list({clean_text(name): name for name in names}.values())
    places = {name: place for place, name in enumerate(distinct)}
    kinds = kinds_of([taught.get(name, "all") for name in distinct])
    ranks = []
    for image, truth in pictures:
        right = {places[name] for name in truth if name in places}
        if not right:
            continue
        scores = model.classify(image, distinct).logits
        row = []
        for kind in kinds:
            own = [place for place in right if kind in ("all", taught.get(distinct[place]))]
            others = right.difference(own)
            rank = rank_of_truth(scores, right=own, passed_over=[*others]) if own else -1
            row.append(rank)
        ranks.append(row)
    table = np.array(ranks, np.int64).reshape(-1, len(kinds))
    return Named(tuple(distinct), tuple(kinds), table)


def right_names(photographs: Photographs, picture: int) -> frozenset[str]:
    """What a picture shows: the names of the whole, and those of its annotations."""
    one = photographs[picture]
    concepts = one.concepts(one.numbers)
    found = [*photographs.labels(picture), *concepts[concepts >= 0].tolist()]
    return frozenset(photographs.names[each] for each in found)


def imagenet_names() -> tuple[list[str], dict[str, frozenset[str]]]:
    """The first name of each class, and which of them each of a class's names stands for."""
    lemmas = imagenet_lemmas()
    stands_for: dict[str, set[str]] = {}
    for first, *others in lemmas:
        for name in (first, *others):
            stands_for.setdefault(name, set()).add(first)
    return (
        list(dict.fromkeys(first for first, *_ in lemmas)),
        {name: frozenset(found) for name, found in stands_for.items()},
    )


def of_imagenet(photographs: Photographs, pictures: Sequence[int]) -> dict[int, frozenset[str]]:
    """Pictures, large enough, whose label names one of ImageNet's classes -> the right classes."""
    _, stands_for = imagenet_names()
    found: dict[int, frozenset[str]] = {}
    for picture in pictures:
        one = photographs[picture]
        labels = [photographs.names[each] for each in photographs.labels(picture)]
        right = frozenset().union(*(stands_for.get(label, frozenset()) for label in labels))
        if right and one.found.sizes[one.row].max() >= IMAGENET_LEAST_PX:
            found[picture] = right
    return found


def of_folder(folder: Path) -> list[tuple[Path, str]]:
    """Pictures of a folder with a sub-folder a class, each with the class's name.

    Raises:
        DatasetError: there are fewer than two classes, or none of the pictures.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    found = [(path, clean_name(each.name)) for each in classes for path in list_pictures(each)]
    if len({name for _, name in found}) < 2:
        raise DatasetError(
            f"{folder} does not hold pictures of two classes or more, in a sub-folder a class"
        )
    return found


def read_named(
    photographs: Photographs, pictures: dict[int, frozenset[str]], text: str
) -> Iterator[tuple[np.ndarray, frozenset[str]]]:
    """Reads photographs, each with its right names."""
    for picture, right in track(pictures.items(), text, total=len(pictures)):
        yield read_photograph(photographs, picture), right


def read_folder(
    pictures: Sequence[tuple[Path, str]], text: str
) -> Iterator[tuple[np.ndarray, frozenset[str]]]:
    """Reads pictures of a folder, each with its right name."""
    for path, name in track(pictures, text, total=len(pictures)):
        yield load_image(path), frozenset([name])
