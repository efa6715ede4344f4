"""Asks a model all that a dataset has answers for, and turns what it says into figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.intervals import Bootstrap
from benchmarks.metrics.masks import OBJECT_ROW, SIZES, judge_objects, prompt_figures
from benchmarks.metrics.names import Rank, rank_of_truth, top_k
from benchmarks.metrics.texts import (
    PAIR_ROW,
    TEXT_ROW,
    curve,
    judge_texts,
    presence_figures,
    text_figures,
)
from benchmarks.quality.dataset import ALL, Dataset, Masked
from benchmarks.quality.ways import Way
from benchmarks.suite import Measuring, timed
from benchmarks.two_models import TwoModels
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.text.tokenizer import clean_text
from training.real.records import BrokenRecord

Classify = Callable[[Sequence[str]], Rank]
"""Names to a classifier among them."""


@dataclass
class Answers:
    """Rows of what was asked, as `metrics` has them, and of which splits and set a picture is.

    `costs` are CLIP's passes and milliseconds of each picture, by way; `broken` counts pictures
    that cannot be read, by kind.
    """

    texts: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[Any] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    costs: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    splits: dict[int, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[int, str] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)

    def parts(self) -> Iterator[tuple[str, list[int]]]:
        """Each split and its pictures."""
        for split in dict.fromkeys(split for each in self.splits.values() for split in each):
            yield split, [picture for picture, own in self.splits.items() if split in own]


def ask_masks(
    measured: Measuring,
    model: SamClip,
    dataset: Dataset,
    *,
    ways: Mapping[str, Way],
    pipeline: TwoModels | None = None,
    doing: str = "masks",
) -> Answers:
    """Asks every picture with masks by prompts, by texts in all ways, and for presence."""
    found = Answers()
    for picture in measured.track(dataset.masked(), doing):
        try:
            asked = dataset.question(picture)
        except BrokenRecord as error:
            found.broken[error.kind] += 1
            continue
        texts = bool(ways or pipeline) and asked.asked is not None and bool(asked.asked.labels)
        if not texts and not len(asked.objects):
            continue
        found.splits[picture], found.sets[picture] = asked.splits, asked.of
        image, encoding = timed(partial(model.encode_image, asked.image))
        if len(asked.objects):
            found.objects += judge_objects(picture, model, image, asked.objects)
        if texts:
            _ask_texts(found, model, image, asked, ways=ways, pipeline=pipeline, encoding=encoding)
    return found


def _ask_texts(
    found: Answers,
    model: SamClip,
    image: ImageEmbedding,
    masked: Masked,
    *,
    ways: Mapping[str, Way],
    pipeline: TwoModels | None,
    encoding: float,
) -> None:
    asked = masked.asked
    if asked is None:
        return
    for name, way in ways.items():
        (masks, presence), ms = timed(partial(way, image, asked.labels))
        found.texts[name] += judge_texts(masked.picture, asked, masks=masks, presence=presence)
        found.costs[name].append((0, encoding + ms))
    for name, masks, passes, ms in pipeline.ask(asked) if pipeline else ():
        told = {"masks": masks, "presence": np.ones(len(masks))}
        found.texts[name] += judge_texts(masked.picture, asked, **told)
        found.costs[name].append((passes, ms))
    names = [*asked.present, *masked.absent]
    every = model.segment_text(image, names, threshold=1.0, refine=False).asked
    for place, name in enumerate(names):
        present = place < len(asked.present)
        found.pairs.append((masked.picture, name, present, every.presence[place]))


def add_prompts(measured: Measuring, answers: Answers, bootstrap: Bootstrap, *, who: str) -> None:
    """Mean IoU of the prompts over objects: of each split, by size, and over sets."""
    table = np.array(answers.objects, OBJECT_ROW)
    for split, pictures in answers.parts():
        rows = table[np.isin(table["owner"], pictures)]
        sizes = SIZES.items() if split == ALL else ()
        parts = {split: np.ones(len(rows), bool)}
        parts |= {size: (rows["share"] >= low) & (rows["share"] < up) for size, (low, up) in sizes}
        for of, part in parts.items():
            own = rows[part]
            figures = prompt_figures(own, bootstrap)
            measured.add(f"{who}: prompts", of, n=len(own), **figures)
            groups = np.unique(
                [answers.sets[each] for each in own["owner"].tolist()], return_inverse=True
            )
            if len(groups[0]) > 1:
                figures = prompt_figures(own, bootstrap, groups=groups[1])
                measured.add(f"{who}: prompts, mean over sets", of, n=len(own), **figures)


def add_texts(
    measured: Measuring, answers: Answers, bootstrap: Bootstrap, *, threshold: float
) -> None:
    """Text-to-mask of each way and presence, by split; and the curve over all thresholds."""
    pairs = np.array(answers.pairs, PAIR_ROW)
    for way, rows in answers.texts.items():
        table = np.array(rows, TEXT_ROW)
        for split, pictures in answers.parts():
            own = table[np.isin(table["owner"], pictures)]
            figures = text_figures(own, bootstrap, threshold=threshold)
            measured.add(way, split, n=len(np.unique(own["owner"])), **figures)
        for point, figures in curve(table) if way in ("clip_head", "both_heads") else ():
            measured.add(f"curve: {way}", str(point), **figures)
    for split, pictures in answers.parts():
        own = pairs[np.isin(pairs["owner"], pictures)]
        measured.add("presence", split, **presence_figures(own, bootstrap))


def add_costs(measured: Measuring, answers: Answers, *, split: str) -> None:
    """The mean cost of a picture by each way: CLIP's passes, and milliseconds."""
    for way, costs in answers.costs.items():
        passes, ms = np.mean(costs, axis=0).tolist()
        measured.add(way, split, n=len(costs), clip_passes=passes, milliseconds=round(ms, 1))


def add_names(
    measured: Measuring,
    dataset: Dataset,
    classify: Classify,
    bootstrap: Bootstrap,
    *,
    who: str,
    broken: Counter[str] | None = None,
) -> None:
    """Top-1 and top-5 of every naming, and over all sets where several share a kind.

    Every picture is ranked once, among all names of all namings; names that are read alike are one.
    """
    asked = dataset.namings()
    spoken = {clean_text(name): name for naming in asked for name in naming.names}
    places = {name: place for place, name in enumerate(spoken)}
    rank = classify([*spoken.values()]) if spoken else None

    def placed(names: Iterable[str]) -> set[int]:
        return {places[clean_text(each)] for each in names if clean_text(each) in places}

    scores: dict[int, np.ndarray] = {}
    pictures = sorted({picture for naming in asked for picture in naming.right})
    for picture in measured.track(pictures, f"names: {who}"):
        try:
            scores[picture] = rank(dataset.read(picture)) if rank else np.empty(0)
        except BrokenRecord as error:
            if broken is not None:
                broken[error.kind] += 1
    pooled: dict[str, list[dict[int, int]]] = defaultdict(list)
    for naming in asked:
        among, ranks = placed(naming.names), {}
        others = set(places.values()) - among
        for picture, names in naming.right.items():
            right = placed(names)
            if picture in scores and right & among:
                passed = (others | placed(naming.neither.get(picture, ()))) - right
                told = {"right": [*right & among], "passed_over": [*passed]}
                ranks[picture] = rank_of_truth(scores[picture], **told)
        pooled[naming.kind].append(ranks)
        if figures := top_k(ranks, bootstrap):
            subject, count = f"{who}: {naming.kind}", {"n": len(ranks), "names": len(among)}
            measured.add(subject, naming.split, **count, **figures)
    for kind, several in pooled.items():
        if len(several) > 1:
            every = {picture: rank for ranks in several for picture, rank in ranks.items()}
            measured.add(f"{who}: {kind}", ALL, n=len(every), **top_k(every, bootstrap))
