"""Photographs as what is asked: the split "val" of sets of photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from benchmarks.paper.inputs import Classify, EmbedText, Inputs, ProbeData, photograph_stages
from benchmarks.paper.record import Accuracy, Kind, PhotographSettings, TopK
from benchmarks.photographs.measure import ValPictures, choose_pictures, evenly
from benchmarks.photographs.naming import imagenet_names, of_imagenet, rank_of_truth, right_names
from benchmarks.photographs.two_models import tuning_pictures
from benchmarks.quality.drawings import Picture
from benchmarks.quality.ranking import Rank, ranks_of_truth, share_within
from benchmarks.quality.record import PromptIou
from benchmarks.quality.scores import PromptTally
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.masks import mask_to_box
from samclip_sdk.text.tokenizer import clean_text
from training.asked_pictures import AskedPicture
from training.composed.scenes import Scene
from training.config_file import find_config, load_model
from training.data_config import Photographs as SetSettings
from training.real.coco_layout import PhotographSplit
from training.real.photograph_questions import concept_masks, objects_of, read_photograph
from training.real.photographs import Photographs
from training.teachers.photograph_pair import PhotographPair

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


@dataclass(frozen=True)
class Naming:
    """Pictures that are named among some of all names.

    Attributes:
        columns: int [K], the places of the names among all.
        right: picture -> the places of its right names in `columns`, one or more.
    """

    columns: np.ndarray
    right: dict[int, list[int]]


@dataclass(frozen=True)
class ValPhotographs:
    """Photographs that no training saw, an `Asked`.

    Args:
        root: holds the sets.
        settings: how many of them.
        size_px: side of the squares that probes are trained on.
    """

    root: Path
    settings: PhotographSettings
    size_px: int
    split: str = "val"

    @cached_property
    def photographs(self) -> Photographs:
        """Those of the split."""
        return self.of("val")

    def of(self, split: PhotographSplit) -> Photographs:
        """The pictures of a split, with all names."""
        return Photographs(SetSettings(source="photographs", root=self.root), split=split)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all sets, then those of ImageNet's classes; each once."""
        found: dict[str, str] = {}
        for name in (*self.photographs.names, *imagenet_names()[0]):
            found.setdefault(clean_text(name), name)
        return tuple(found.values())

    @cached_property
    def namings(self) -> dict[Kind, Naming]:
        """What is named among which names."""
        photographs, pictures = self.photographs, self._pictures.labelled
        classes = of_imagenet(photographs, pictures)
        limit = self.settings.pictures
        found: dict[Kind, tuple[Sequence[str], dict[int, frozenset[str]]]] = {
            "all_names": (
                photographs.names,
                {picture: right_names(photographs, picture) for picture in evenly(pictures, limit)},
            ),
            "imagenet": (
                imagenet_names()[0],
                {picture: classes[picture] for picture in evenly([*classes], limit)},
            ),
        }
        return {kind: self._naming(*each) for kind, each in found.items() if each[1]}

    def accuracy(self, classify: Classify, *, name: str) -> Accuracy:
        """Top-1 and top-5 among the names of all sets, and among ImageNet's."""
        rank = classify(self.names)
        ranks: dict[Kind, list[int]] = {kind: [] for kind in self.namings}
        every = sorted({picture for each in self.namings.values() for picture in each.right})
        for picture in track(every, f"classify: {name}"):
            scores = rank(read_photograph(self.photographs, picture)[None])[0]
            for kind, naming in self.namings.items():
                if right := naming.right.get(picture):
                    own = scores[naming.columns]
                    ranks[kind].append(rank_of_truth(own, right=right, passed_over=[]))
        return {
            kind: TopK(
                labels=len(self.namings[kind].columns),
                pictures=len(found),
                top1=share_within(np.array(found), 1),
                top5=share_within(np.array(found), 5),
            )
            for kind, found in ranks.items()
        }

    def prompts(self, model: SamClip, *, who: str, name: str) -> PromptIou:
        """Every thing of half a percent or more, by its box and by a point."""
        tally = PromptTally()
        for picture in track(evenly(self._pictures.masked, self.settings.scenes), f"masks: {name}"):
            masks = objects_of(self.photographs, picture)
            if len(masks):
                image = model.encode_image(read_photograph(self.photographs, picture))
                boxes = np.stack([mask_to_box(mask) for mask in masks]).astype(np.float32)
                tally.add(model, image, masks=masks, boxes=boxes)
        return tally.row(who=who, split=self.split)

    def questions(self, embed_text: EmbedText) -> Iterator[AskedPicture]:
        """Pictures of sets that label everything, each with five names that it does not show."""
        pictures, asked = self._pictures, self._pictures.asked
        for picture in track(evenly(pictures.complete, self.settings.scenes), "text-to-mask"):
            question = asked.question(picture) if asked else None
            if question is not None and question.present:
                yield question

    def tuning(self, embed_text: EmbedText) -> Sequence[AskedPicture]:
        """The same of the split "calibration"."""
        return tuning_pictures(self.of("calibration"), seed=self.settings.seed)

    def probe_data(self) -> ProbeData:
        """The splits "train", "calibration" to choose by, and "val"."""
        splits = (self.of("train"), self.of("calibration"), self.photographs)
        return photograph_probe_data(splits, settings=self.settings, size_px=self.size_px)

    @cached_property
    def _pictures(self) -> ValPictures:
        return choose_pictures(self.photographs, limit=None, seed=self.settings.seed)

    def _naming(self, names: Sequence[str], right: dict[int, frozenset[str]]) -> Naming:
        places = {clean_text(name): place for place, name in enumerate(self.names)}
        columns = list(dict.fromkeys(places[clean_text(name)] for name in names))
        own = {column: place for place, column in enumerate(columns)}
        return Naming(
            np.array(columns),
            {
                picture: sorted({own[places[clean_text(name)]] for name in found})
                for picture, found in right.items()
            },
        )


def open_photographs(
    run: Path, *, root: Path, student: str | None, pictures: int, scenes: int, seed: int
) -> Inputs:
    """Reads what RUNS/CONFIG is of, and the sets; weights are loaded when they are first needed.

    Raises:
        TrainingError: the folder is not named after a config, or there is no set with pictures in
            "val".
    """
    model = load_model(find_config(run.name))
    photographs = Photographs(SetSettings(source="photographs", root=root), split="val")
    sets = [photographs.sets[owner] for owner in np.unique(photographs.owners)]
    settings = PhotographSettings(
        sets=len(sets),
        complete=sum(each.complete for each in sets),
        pictures=pictures,
        scenes=scenes,
        seed=seed,
    )
    asked = ValPhotographs(root, settings, model.segmentation_resolution)
    stages = photograph_stages(run, student=student)
    return Inputs(PhotographPair(model, runs=run), asked, stages)
