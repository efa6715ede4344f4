"""Photographs as what is asked: the split "val" of sets of photographs.

Linear probes see the middle square of each. A classifier is probed on pictures with one name as a
whole, of the names that enough pictures have; a segmenter on pictures of sets that label
everything, for the nouns that most of them show, where all else is background.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from benchmarks.paper import inputs
from benchmarks.paper.record import Accuracy, Kind, PhotographSettings, TopK
from benchmarks.paper.text_to_mask import tuning_pictures
from benchmarks.photographs.measure import ValPictures, choose_pictures
from benchmarks.photographs.naming import imagenet_names, of_imagenet, right_names
from benchmarks.public.files import by_turns, evenly
from benchmarks.quality.ranking import Rank
from benchmarks.quality.record import PromptIou
from benchmarks.quality.scores import PromptTally, rank_of_truth
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.picture.masks import mask_to_box
from samclip_sdk.text.tokenizer import clean_text
from training.asked_pictures import AskedPicture
from training.composed.scenes import Scene
from training.config_file import find_config, load_model
from training.data_config import Photographs as SetSettings
from training.real.coco_layout import PhotographSplit
from training.real.photograph_questions import concept_masks, objects_of, read_photograph
from training.real.photographs import Photographs
from training.teachers.photograph_pair import SAM, PhotographPair

LEAST_TRAIN, LEAST_TEST = 12, 2
"""Pictures that a name must have in the two splits to be told apart by a probe."""

_MOST_NOUNS = 40
_PATCHES = 10_000  # with wide features and real names, more cost hours


@dataclass(frozen=True)
class ValPhotographs:
    """Photographs that no training saw, of the sets in `root`.

    `size_px` is the side of the squares that probes are trained on.
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
    def namings(self) -> dict[Kind, tuple[Sequence[str], dict[int, frozenset[str]]]]:
        """The names that are told apart, and picture -> its right ones."""
        pictures, limit = self._pictures.labelled, self.settings.pictures
        every = {each: right_names(self.photographs, each) for each in evenly(pictures, limit)}
        classes = of_imagenet(self.photographs, pictures)
        named = {each: classes[each] for each in evenly([*classes], limit)}
        found = {
            "all_names": (self.photographs.names, every),
            "imagenet": (imagenet_names()[0], named),
        }
        return {kind: each for kind, each in found.items() if each[1]}

    def accuracy(self, classify: inputs.Classify, *, name: str) -> Accuracy:
        """Top-1 and top-5 among the names of all sets, and among ImageNet's."""
        rank, place = classify(self.names), {clean_text(n): i for i, n in enumerate(self.names)}
        every = sorted({picture for _, right in self.namings.values() for picture in right})
        shown = track(every, f"classify: {name}")
        scores = {each: rank(read_photograph(self.photographs, each)) for each in shown}
        found = {}
        for kind, (names, right) in self.namings.items():
            among = {place[clean_text(each)] for each in names}
            others = [*(set(place.values()) - among)]
            ranks = []
            for picture, own in right.items():
                places = [place[clean_text(each)] for each in own]
                ranks.append(rank_of_truth(scores[picture], right=places, passed_over=others))
            found[kind] = TopK.of(ranks, labels=len(among))
        return found

    def prompts(self, model: SamClip, *, who: str, name: str) -> PromptIou:
        """Every thing of half a percent or more, by its box and by a point."""
        tally = PromptTally()
        for picture in track(evenly(self._pictures.masked, self.settings.scenes), f"masks: {name}"):
            masks = objects_of(self.photographs, picture)
            if len(masks):
                image = model.encode_image(read_photograph(self.photographs, picture))
                tally.add(model, image, masks=masks)
        return tally.row(who=who, split=self.split)

    def questions(self, embed_text: inputs.EmbedText) -> Iterator[AskedPicture]:
        """Pictures of sets that label everything, each with five names that it does not show."""
        for picture in track(evenly(self._pictures.complete, self.settings.scenes), "text-to-mask"):
            question = self._pictures.asked.question(picture)
            if question.present:
                yield question

    def tuning(self, embed_text: inputs.EmbedText) -> Sequence[AskedPicture]:
        """The same of the split "calibration"."""
        return tuning_pictures(self.root, seed=self.settings.seed)

    def probe_data(self) -> inputs.ProbeData:
        """The splits "train", "calibration" to choose by, and "val": names, nouns and pictures."""
        splits, asked = (self.of("train"), self.of("calibration"), self.photographs), self.settings
        named = [_named(each) for each in splits]
        names = sorted(
            name
            for name, pictures in named[0].items()
            if len(pictures) >= LEAST_TRAIN and len(named[2][name]) >= LEAST_TEST
        )
        nouns = frequent_nouns(splits[0], _complete(splits[0]))

        def squares(split: Photographs, own: dict[str, list[int]], times: int) -> list[Square]:
            """One picture of each name before a second of any."""
            found = (
                [Square(split, each, label, self.size_px) for each in own[name]]
                for label, name in enumerate(names)
            )
            return by_turns(found)[: times * asked.pictures]

        def scenes(split: Photographs, times: int) -> list[Scene]:
            pictures = evenly(_complete(split), times * asked.scenes)
            return [
                square_scene(split, each, nouns=nouns, size_px=self.size_px) for each in pictures
            ]

        def test(rank: Rank, name: str) -> Accuracy:
            shown = track(tested, f"classify: {name}")
            ranks = [rank_of_truth(rank(each.image), right=[each.label]) for each in shown]
            return {"probed": TopK.of(ranks, labels=len(names))}

        trained, chosen, tested = map(squares, splits, named, (inputs.TRAIN_PICTURES, 1, 1))
        return inputs.ProbeData(
            pictures=(trained, chosen),
            labels=len(names),
            test=test,
            scenes=tuple(map(scenes, splits, (inputs.TRAIN_SCENES, 1, 1))),
            background=len(nouns),
            patches=_PATCHES,
            seed=asked.seed,
        )

    @cached_property
    def _pictures(self) -> ValPictures:
        return choose_pictures(self.photographs, limit=None, seed=self.settings.seed)


@dataclass(frozen=True)
class Square:
    """The middle of a photograph with one label; its `image`, uint8 [S,S,3], is read each time."""

    photographs: Photographs
    picture: int
    label: int
    size_px: int

    @property
    def image(self) -> np.ndarray:
        """Pixels, read now: all of them at once would fill the memory."""
        return middle(read_photograph(self.photographs, self.picture), size_px=self.size_px)


def open_photographs(
    run: Path, *, root: Path, student: str | None, pictures: int, scenes: int, seed: int
) -> inputs.Inputs:
    """Reads what RUNS/CONFIG is of, and the sets; weights are loaded when they are first needed."""
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
    stages = inputs.photograph_stages(run, student=student)
    merged = None if SAM in stages.teachers else stages.shipped
    return inputs.Inputs(PhotographPair(model, runs=run, merged=merged), asked, stages)


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
