"""Photographs for linear probes: the middle square of each, of one size.

A classifier is probed on pictures with one name as a whole, of the names that enough pictures have.
A segmenter is probed on pictures of sets that label everything, for the nouns that most of them
show; all else is background.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import cv2
import numpy as np

from benchmarks.paper.probe_data import ProbeData
from benchmarks.paper.record import Accuracy, PhotographSettings, TopK
from benchmarks.photographs.measure import evenly
from benchmarks.progress import track
from benchmarks.quality.drawings import Picture
from benchmarks.quality.ranking import Rank, ranks_of_truth, share_within
from samclip_sdk.masks import mask_to_box
from training.composed.scenes import Scene
from training.real.photograph_questions import concept_masks, read_photograph
from training.real.photographs import Photographs

Splits = tuple[Photographs, Photographs, Photographs]
"""To train on, to choose by and to test."""

LEAST_TRAIN, LEAST_TEST = 12, 2
"""Pictures that a name must have in the two splits to be told apart by a probe."""

_TRAIN_PICTURES = 6  # for each picture that is tested
_TRAIN_SCENES = 4
_MOST_NOUNS = 40
_PATCHES = 10_000  # with wide features and real names, more cost hours
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Squares(Collection[Picture]):
    """The middle squares of photographs with one label each; read anew each time.

    Attributes:
        photographs: of a split.
        labels: picture -> its label.
        size_px: side of each square.
    """

    photographs: Photographs
    labels: dict[int, int]
    size_px: int

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, picture: object) -> bool:
        return picture in self.labels

    def __iter__(self) -> Iterator[Picture]:
        for picture, label in self.labels.items():
            image = middle(read_photograph(self.photographs, picture), size_px=self.size_px)
            yield Picture(image, label, _NOTHING)


def photograph_probe_data(
    splits: Splits, *, settings: PhotographSettings, size_px: int
) -> ProbeData:
    """Chooses names, nouns and pictures, evenly over all, and reads the scenes."""
    train, choose, test = (_named(each) for each in splits)
    names = sorted(
        name
        for name, pictures in train.items()
        if len(pictures) >= LEAST_TRAIN and len(test.get(name, ())) >= LEAST_TEST
    )
    asked, more = settings.pictures, _TRAIN_PICTURES * settings.pictures
    trained, chosen, tested = (
        Squares(photographs, _by_turns(found, names, limit=limit), size_px)
        for photographs, found, limit in zip(
            splits, (train, choose, test), (more, asked, asked), strict=True
        )
    )
    limits = (_TRAIN_SCENES * settings.scenes, settings.scenes, settings.scenes)
    complete = [_complete(each) for each in splits]
    nouns = frequent_nouns(splits[0], complete[0])
    return ProbeData(
        pictures=(trained, chosen),
        labels=len(names),
        test=lambda rank, name: _test(rank, tested, labels=len(names), name=name),
        scenes=tuple(
            [
                square_scene(photographs, picture, nouns=nouns, size_px=size_px)
                for picture in evenly(pictures, limit)
            ]
            for photographs, pictures, limit in zip(splits, complete, limits, strict=True)
        ),
        background=len(nouns),
        patches=_PATCHES,
        seed=settings.seed,
    )


def middle(pixels: np.ndarray, *, size_px: int) -> np.ndarray:
    """The middle square of a picture, uint8 [H,W,3], or of a mask, bool [H,W]: [S,S,...]."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if pixels.dtype == bool:
        places = ((np.arange(size_px) + 0.5) * side / size_px).astype(np.int64)
        found: np.ndarray = square[places][:, places]
        return found
    smaller = side > size_px
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(square, (size_px, size_px), interpolation=how)


def square_scene(
    photographs: Photographs, picture: int, *, nouns: Sequence[str], size_px: int
) -> Scene:
    """The middle square of a picture, and where each noun is in it.

    What its set does not name, or names without a mask, may be there all the same.

    Raises:
        BrokenRecord: the picture or a mask cannot be read.
    """
    found = {
        name: middle(mask, size_px=size_px)
        for name, mask in concept_masks(photographs, picture).items()
        if name in nouns
    }
    shown = {name: mask for name, mask in found.items() if mask.any()}
    absent = {photographs.names[each] for each in photographs.absent(picture)}
    known = absent | found.keys()
    empty = np.zeros((size_px, size_px), bool)
    # Large ones first: what lies in or on another is painted over it.
    order = sorted(shown, key=lambda name: -int(shown[name].sum()))
    return Scene(
        middle(read_photograph(photographs, picture), size_px=size_px),
        masks=np.stack([*(shown[name] for name in order), empty])[: len(order)],
        labels=np.array([nouns.index(name) for name in order], np.int64),
        boxes=np.array([mask_to_box(shown[name]) for name in order], np.float32).reshape(-1, 4),
        unlabelled=np.array(
            [place for place, name in enumerate(nouns) if name not in known], np.int64
        ),
    )


def frequent_nouns(photographs: Photographs, pictures: Sequence[int]) -> list[str]:
    """The nouns that most of the pictures are annotated with, sorted."""
    counts: Counter[int] = Counter()
    for picture in pictures:
        one = photographs[picture]
        counts.update(np.unique(one.concepts(one.numbers)).tolist())
    del counts[-1]
    return sorted(photographs.names[each] for each, _ in counts.most_common(_MOST_NOUNS))


def _named(photographs: Photographs) -> dict[str, list[int]]:
    """Name -> the pictures that are labelled with it alone."""
    found: dict[str, list[int]] = {}
    for picture in range(len(photographs)):
        labels = photographs.labels(picture)
        if len(labels) == 1:
            found.setdefault(photographs.names[labels[0]], []).append(picture)
    return found


def _by_turns(found: dict[str, list[int]], names: Sequence[str], *, limit: int) -> dict[int, int]:
    """Pictures by label: one of each name before a second of any, `limit` in all."""
    turns = zip_longest(*(found.get(name, []) for name in names))
    pairs = ((picture, label) for turn in turns for label, picture in enumerate(turn))
    chosen = [pair for pair in pairs if pair[0] is not None]
    return dict(chosen[:limit])


def _complete(photographs: Photographs) -> list[int]:
    return [each for each in range(len(photographs)) if photographs[each].found.complete]


def _test(rank: Rank, tested: Squares, *, labels: int, name: str) -> Accuracy:
    shown = track(tested, f"classify: {name}", total=len(tested))
    found = [(rank(each.image[None])[0], each.label) for each in shown]
    scores, truth = np.stack([row for row, _ in found]), np.array([label for _, label in found])
    ranks = ranks_of_truth(scores, truth=truth)
    return {
        "probed": TopK(
            labels=labels,
            pictures=len(ranks),
            top1=share_within(ranks, 1),
            top5=share_within(ranks, 5),
        )
    }
