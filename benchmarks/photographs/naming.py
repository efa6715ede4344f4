"""Zero-shot names of photographs: whether a right one comes first, or among the first five."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.photographs.figures import Bootstrap, kinds_of, mean
from benchmarks.photographs.record import ALL, PhotographSettings, Taught, TopK
from benchmarks.public.files import DatasetError, list_pictures
from benchmarks.quality.scores import rank_of_truth
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.text.tokenizer import clean_text
from training.real.coco_layout import clean_name
from training.real.photographs import Photographs
from training.text.class_names import imagenet_lemmas

IMAGENET_LEAST_PX = 200
"""The long side of a picture that is to be told apart by ImageNet's classes."""


def name_pictures(
    model: SamClip,
    right: Mapping[Any, frozenset[str]],
    *,
    what: str,
    read: Callable[[Any], np.ndarray],
    names: Sequence[str],
    taught: Mapping[str, Taught],
    settings: PhotographSettings,
) -> Iterator[TopK]:
    """Classifies pictures, which are read one by one, among all names, no two of them the same.

    A row for each kind of names that some picture has among its right ones. Of these, those of
    another kind are neither right nor wrong.
    """
    distinct = list({clean_text(name): name for name in names}.values())
    places = {name: place for place, name in enumerate(distinct)}
    kinds = kinds_of([taught.get(name, ALL) for name in distinct])
    ranks: dict[str, dict[int, int]] = {kind: {} for kind in kinds}  # of pictures by number
    shown = track(right.items(), what, total=len(right))
    for number, (picture, truth) in enumerate(shown):
        known = {places[name] for name in truth if name in places}
        if not known:
            continue
        scores = model.classify(read(picture), distinct).logits
        for kind in kinds:
            own = [place for place in known if kind in (ALL, taught.get(distinct[place]))]
            if own:
                others = [*known.difference(own)]
                ranks[kind][number] = rank_of_truth(scores, right=own, passed_over=others)
    bootstrap = Bootstrap(settings.resamples, settings.seed)
    for kind, found in ranks.items():
        if found:
            owners, before = np.array([*found]), np.array([*found.values()])
            top1, top5 = (
                bootstrap.estimate(mean(before < first), owners=owners) for first in (1, 5)
            )
            counts = {"pictures": len(found), "labels": len(distinct)}
            yield TopK(names=what, taught=kind, top1=top1, top5=top5, **counts)


def right_names(photographs: Photographs, picture: int) -> frozenset[str]:
    """What a picture shows: the names of the whole, and those of its annotations."""
    one = photographs[picture]
    concepts = one.concepts(one.numbers)
    found = [*photographs.labels(picture), *concepts[concepts >= 0].tolist()]
    return frozenset(photographs.names[each] for each in found)


def imagenet_names() -> tuple[list[str], dict[str, frozenset[str]]]:
    """The first name of each class, and which of them each of a class's names stands for."""
    lemmas = imagenet_lemmas()
    stands_for: dict[str, frozenset[str]] = {}
    for names in lemmas:
        for name in names:
            stands_for[name] = stands_for.get(name, frozenset()) | {names[0]}
    return list(dict.fromkeys(first for first, *_ in lemmas)), stands_for


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
    """Pictures of a folder with a sub-folder a class, each with the class's name."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    found = [(path, clean_name(each.name)) for each in classes for path in list_pictures(each)]
    if len({name for _, name in found}) < 2:
        raise DatasetError(
            f"{folder} does not hold pictures of two classes or more, in a sub-folder a class"
        )
    return found
