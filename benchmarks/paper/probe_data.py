"""What linear probes are trained, chosen and tested on: the middle squares of photographs.

A classifier is probed on pictures with one name as a whole, of the names that enough pictures have;
a segmenter on pictures of sets that label everything, for the nouns that most of them show, where
all else is background.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.public.files import by_turns, evenly
from benchmarks.quality.dataset import ALL, Naming
from benchmarks.quality.photographs import ValPhotographs, open_split
from samclip_sdk.picture.masks import mask_to_box
from training.composed.scenes import Scene
from training.real.photograph_questions import concept_masks, read_photograph
from training.real.photographs import Photographs

LEAST_TRAIN, LEAST_TEST = 12, 2
"""Pictures that a name must have in the two splits to be told apart by a probe."""

_TRAIN_PICTURES, _TRAIN_SCENES = 6, 4  # for each one that is tested
_MOST_NOUNS = 40


@dataclass(frozen=True)
class Example:
    """A picture with one label; its pixels are read each time, so as not to fill the memory."""

    read: Callable[[], np.ndarray]
    label: int


@dataclass(frozen=True)
class Examples:
    """Pictures that are named among `names`, and their right names: what a classifier is asked."""

    names: Sequence[str]
    examples: Sequence[Example]

    def namings(self) -> list[Naming]:
        """All of them."""
        right = {i: frozenset([self.names[e.label]]) for i, e in enumerate(self.examples)}
        return [Naming("probed", ALL, self.names, right)]

    def read(self, picture: int) -> np.ndarray:
        """Pixels, read now."""
        return self.examples[picture].read()


@dataclass(frozen=True)
class ProbeData:
    """Pictures to train on and to choose by, named among `names`; `test` asks about others.

    `scenes` are to train on, to choose by and to test. `background` is the class of a pixel that is
    of no noun; nouns come before it.
    """

    pictures: tuple[Sequence[Example], Sequence[Example]]
    names: Sequence[str]
    test: Examples
    scenes: tuple[Sequence[Scene], Sequence[Scene], Sequence[Scene]]
    background: int


def probe_data(val: ValPhotographs, *, size_px: int) -> ProbeData:
    """Of each split of the photographs, as squares of `size_px`."""
    others = (open_split(val.root, each) for each in ("train", "calibration"))
    splits = (*others, val.photographs)
    named = [_named(each) for each in splits]
    names = sorted(
        name
        for name, pictures in named[0].items()
        if len(pictures) >= LEAST_TRAIN and len(named[2][name]) >= LEAST_TEST
    )
    nouns = frequent_nouns(splits[0], _complete(splits[0]))

    def squares(split: Photographs, own: dict[str, list[int]], times: int) -> list[Example]:
        """One picture of each name before a second of any."""

        def read(picture: int) -> np.ndarray:
            return middle(read_photograph(split, picture), size_px=size_px)

        found: Iterable[list[Example]] = (
            [Example(lambda n=n: read(n), label) for n in own[name]]
            for label, name in enumerate(names)
        )
        return by_turns(found)[: None if val.pictures is None else times * val.pictures]

    def scenes(split: Photographs, times: int) -> list[Scene]:
        limit = None if val.scenes is None else times * val.scenes
        pictures = evenly(_complete(split), limit)
        return [square_scene(split, each, nouns=nouns, size_px=size_px) for each in pictures]

    trained, chosen, tested = map(squares, splits, named, (_TRAIN_PICTURES, 1, 1))
    return ProbeData(
        pictures=(trained, chosen),
        names=names,
        test=Examples(names, tested),
        scenes=tuple(map(scenes, splits, (_TRAIN_SCENES, 1, 1))),
        background=len(nouns),
    )


def middle(pixels: np.ndarray, *, size_px: int) -> np.ndarray:
    """The middle square of a picture, uint8 [H,W,3], or of a mask, bool [H,W]: [S,S,...]."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if pixels.dtype == bool:
        places = ((np.arange(size_px) + 0.5) * side / size_px).astype(np.int64)
        return square[places][:, places]
    how = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return cv2.resize(square, (size_px, size_px), interpolation=how)


def square_scene(
    photographs: Photographs, picture: int, *, nouns: Sequence[str], size_px: int
) -> Scene:
    """The middle square of a picture, and where each noun is in it.

    What its set does not name, or names without a mask, may be there all the same.
    """
    found = {
        name: middle(mask, size_px=size_px)
        for name, mask in concept_masks(photographs, picture).items()
        if name in nouns
    }
    known = {photographs.names[each] for each in photographs.absent(picture)} | found.keys()
    # Large ones first: what lies in or on another is painted over it.
    shown = sorted((name for name in found if found[name].any()), key=lambda n: -found[n].sum())
    masks = [found[name] for name in shown]
    empty = np.zeros((size_px, size_px), bool)
    return Scene(
        middle(read_photograph(photographs, picture), size_px=size_px),
        masks=np.stack([*masks, empty])[: len(masks)],
        labels=np.array([nouns.index(name) for name in shown], np.int64),
        boxes=np.array([mask_to_box(mask) for mask in masks], np.float32).reshape(-1, 4),
        unlabelled=np.array([i for i, n in enumerate(nouns) if n not in known], np.int64),
    )


def frequent_nouns(photographs: Photographs, pictures: Sequence[int]) -> list[str]:
    """The nouns that most of the pictures are annotated with, sorted."""
    counts: Counter[int] = Counter()
    for picture in pictures:
        one = photographs[picture]
        counts.update(np.unique(one.concepts(one.numbers)).tolist())
    del counts[-1]
    return sorted(photographs.names[each] for each, _ in counts.most_common(_MOST_NOUNS))


def _complete(photographs: Photographs) -> list[int]:
    """The pictures of sets that label everything."""
    return [each for each in range(len(photographs)) if photographs[each].found.complete]


def _named(photographs: Photographs) -> dict[str, list[int]]:
    """Name -> the pictures that are labelled with it alone."""
    found: dict[str, list[int]] = defaultdict(list)
    for picture in range(len(photographs)):
        labels = photographs.labels(picture)
        if len(labels) == 1:
            found[photographs.names[labels[0]]].append(picture)
    return found
