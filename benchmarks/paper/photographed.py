"""Photographs as what is asked: the split "val" of sets of photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.paper.inputs import Classify, EmbedText, Inputs, photograph_stages
from benchmarks.paper.photograph_probes import photograph_probe_data
from benchmarks.paper.probe_data import ProbeData
from benchmarks.paper.record import Accuracy, Kind, PhotographSettings, TopK
from benchmarks.photographs.measure import ValPictures, choose_pictures, evenly
from benchmarks.photographs.naming import imagenet_names, of_imagenet, rank_of_truth, right_names
from benchmarks.photographs.two_models import tuning_pictures
from benchmarks.progress import track
from benchmarks.quality.ranking import share_within
from benchmarks.quality.record import PromptIou
from benchmarks.quality.scores import PromptTally
from samclip_sdk import SamClip
from samclip_sdk.masks import mask_to_box
from samclip_sdk.text.tokenizer import clean_text
from training.asked_pictures import AskedPicture
from training.config_file import find_config, load_model
from training.data_config import Photographs as SetSettings
from training.real.coco_layout import PhotographSplit
from training.real.photograph_questions import objects_of, read_photograph
from training.real.photographs import Photographs
from training.teachers.photograph_pair import PhotographPair


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
