"""What linear probes are trained, chosen and tested on: the middle squares of photographs.

A classifier is probed on images with one name as a whole, of the names that enough images have;
a segmenter on images of sets that label everything, for the nouns that most of them show, where
all else is background.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.public.files import by_turns, evenly
from benchmarks.quality.photographs import ValPhotographs, open_split
from training.real.photograph_questions import concept_masks, read_photograph
from training.real.photographs import Photographs

MIN_TRAIN, MIN_TEST = 12, 2
"""Images that a name must have in the two splits to be told apart by a probe."""

_TIMES_IMAGES, _TIMES_SCENES = 6, 4  # that are trained on, for each one that is tested
_MAX_NOUNS = 40


class Example(NamedTuple):
    """An image with one label; its pixels are read each time, so as not to fill the memory."""

    read: Callable[[], np.ndarray]
    label: int


class Scene(NamedTuple):
    """An image uint8 [S,S,3], and the noun of each pixel, int64 [S,S]; the last is background.

    The nouns `unsure` may be there, too: their set does not say.
    """

    image: np.ndarray
    class_map: np.ndarray
    unsure: np.ndarray


class ProbeData(NamedTuple):
    """Images and scenes to train on, to choose by and to test.

    Images are told apart by `names`; scenes have so many `classes`, with the background.
    """

    images: Sequence[Sequence[Example]]
    names: Sequence[str]
    scenes: Sequence[Sequence[Scene]]
    classes: int


def probe_data(val: ValPhotographs, *, size_px: int) -> ProbeData:
    """Of each split of the photographs, as squares of `size_px`."""
    others = (open_split(val.root, each) for each in ("train", "calibration"))
    splits = (*others, val.photographs)
    named = [_named(each) for each in splits]
    names = sorted(
        name
        for name, images in named[0].items()
        if len(images) >= MIN_TRAIN and len(named[2][name]) >= MIN_TEST
    )
    nouns = frequent_nouns(splits[0], _complete(splits[0]))

    def read(split: Photographs, image: int) -> np.ndarray:
        return middle(read_photograph(split, image), size_px=size_px)

    def examples(split: Photographs, own: dict[str, list[int]], times: int) -> list[Example]:
        """One image of each name before a second of any."""
        found = by_turns(
            [Example(partial(read, split, each), label) for each in own[name]]
            for label, name in enumerate(names)
        )
        return found[: None if val.images is None else times * val.images]

    def scenes(split: Photographs, times: int) -> list[Scene]:
        chosen = evenly(_complete(split), None if val.scenes is None else times * val.scenes)
        return [square_scene(split, each, nouns=nouns, size_px=size_px) for each in chosen]

    return ProbeData(
        images=[*map(examples, splits, named, (_TIMES_IMAGES, 1, 1))],
        names=names,
        scenes=[*map(scenes, splits, (_TIMES_SCENES, 1, 1))],
        classes=len(nouns) + 1,
    )


def middle(pixels: np.ndarray, *, size_px: int) -> np.ndarray:
    """The middle square of an image, uint8 [H,W,3], or of a mask, bool [H,W]: [S,S,...]."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if pixels.dtype == bool:
        indices = ((np.arange(size_px) + 0.5) * side / size_px).astype(np.int64)
        return square[indices][:, indices]
    how = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return cv2.resize(square, (size_px, size_px), interpolation=how)


def square_scene(
    photographs: Photographs, image: int, *, nouns: Sequence[str], size_px: int
) -> Scene:
    """The middle square of an image, and where each noun is in it.

    What its set does not name, or names without a mask, may be there all the same.
    """
    found = {
        nouns.index(name): middle(mask, size_px=size_px)
        for name, mask in concept_masks(photographs, image).items()
        if name in nouns
    }
    class_map = np.full((size_px, size_px), len(nouns), np.int64)
    # Large ones first: what lies in or on another is painted over it.
    for noun in sorted(found, key=lambda each: -found[each].sum()):
        class_map[found[noun]] = noun
    absent = {photographs.names[each] for each in photographs.absent(image)}
    unsure = [i for i, name in enumerate(nouns) if name not in absent and i not in found]
    pixels = middle(read_photograph(photographs, image), size_px=size_px)
    return Scene(pixels, class_map, np.array(unsure, np.int64))


def frequent_nouns(photographs: Photographs, images: Sequence[int]) -> list[str]:
    """The nouns that most of the images are annotated with, sorted."""
    counts: Counter[int] = Counter()
    for image in images:
        one = photographs[image]
        counts.update(np.unique(one.concepts(one.numbers)).tolist())
    del counts[-1]
    return sorted(photographs.names[each] for each, _ in counts.most_common(_MAX_NOUNS))


def _complete(photographs: Photographs) -> list[int]:
    """The images of sets that label everything."""
    return [each for each in range(len(photographs)) if photographs[each].found.complete]


def _named(photographs: Photographs) -> dict[str, list[int]]:
    """Name -> the images that are labelled with it alone."""
    found: dict[str, list[int]] = defaultdict(list)
    for image in range(len(photographs)):
        labels = photographs.labels(image)
        if len(labels) == 1:
            found[photographs.names[labels[0]]].append(image)
    return found
