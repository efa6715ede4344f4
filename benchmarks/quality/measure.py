"""Asks a model all that a dataset has answers for, and turns what it says into figures.

A way from texts to masks gives K labels of an image a mask bool [H,W], whatever its presence, and
presence float32 [K], so that one answer serves all thresholds: a label's mask depends on neither
the threshold nor the other labels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.intervals import Bootstrap, mean, mean_of_means
from benchmarks.metrics.masks import OBJECT_ROW, PROMPTS, SIZES, judge_objects
from benchmarks.metrics.names import Rank, rank_of_truth, top_k
from benchmarks.metrics.texts import (
    PAIR_ROW,
    TEXT_ROW,
    curve,
    judge_texts,
    presence_figures,
    text_figures,
)
from benchmarks.quality.dataset import ALL, Dataset
from benchmarks.suite import Measuring, timed
from benchmarks.two_models import TwoModels
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.image.masks import binarize
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.text.tokenizer import clean_text
from training.real.records import BrokenRecord

Classify = Callable[[Sequence[str]], Rank]
"""Names to a classifier among them."""

Answer = tuple[Sequence[np.ndarray], np.ndarray]
Way = Callable[[ImageEmbedding, Sequence[str]], Answer]


def two_heads(model: SamClip) -> dict[str, Way]:
    """The CLIP head alone, and both heads."""

    def ask(refine: bool, image: ImageEmbedding, labels: Sequence[str]) -> Answer:
        answer = model.segment_text(image, labels, threshold=0.0, refine=refine)
        return answer.masks, answer.presence

    return {"clip_head": partial(ask, False), "both_heads": partial(ask, True)}


def all_ways(model: SamClip) -> dict[str, Way]:
    """Both, and the apps' graph, of one prompt a label, if the model comes with it."""
    ways, source, manifest = two_heads(model), model.source, model.manifest
    if not isinstance(source, BundleSource):
        return ways
    name = graph_key("text_to_mask", manifest.tasks.segmentation.resolution)
    graph = source.bundle.manifest.graphs.get(name)
    kinds = {(each.runtime, each.precision) for each in graph.artifacts} if graph else set()
    if (source.runtime, source.precision) not in kinds:
        return ways
    session = source.session(name)

    def ask(image: ImageEmbedding, labels: Sequence[str]) -> Answer:
        answer = session.run(
            {
                "image_tokens": image.image_tokens,
                "image_embeddings": image.image_embeddings,
                "extent": image.frame.extent(),
                "text_embeddings": model.embed_labels(labels),
            }
        )
        threshold = manifest.masks.mask_threshold
        masks = binarize(answer["mask_logits"], frame=image.frame, mask_threshold=threshold)
        return list(masks), answer["presence"]

    return ways | {"one_graph": ask}


@dataclass
class Answers:
    """Rows of what was asked, as `metrics` has them, and of which splits and set an image is.

    `costs` are CLIP's passes and milliseconds of each image, by way; `broken` counts images
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
        """Each split and its images."""
        for split in dict.fromkeys(split for each in self.splits.values() for split in each):
            yield split, [image for image, own in self.splits.items() if split in own]


def ask_masks(
    measured: Measuring,
    model: SamClip,
    dataset: Dataset,
    *,
    ways: Mapping[str, Way],
    pipeline: TwoModels | None = None,
    doing: str = "masks",
) -> Answers:
    """Asks every image with masks by prompts, by texts in all ways, and for presence."""
    found = Answers()
    for image in measured.track(dataset.masked(), doing):
        try:
            shown = dataset.question(image)
        except BrokenRecord as error:
            found.broken[error.kind] += 1
            continue
        asked = shown.asked if ways or pipeline else None
        texts = asked is not None and bool(asked.labels)
        if not texts and not len(shown.objects):
            continue
        found.splits[image], found.sets[image] = shown.splits, shown.of
        embedding, encoding = timed(partial(model.encode_image, shown.image))
        if len(shown.objects):
            found.objects += judge_objects(image, model, embedding, shown.objects)
        if not texts:
            continue
        for name, way in ways.items():
            (masks, presence), ms = timed(partial(way, embedding, asked.labels))
            found.texts[name] += judge_texts(image, asked, masks=masks, presence=presence)
            found.costs[name].append((0, encoding + ms))
        for name, masks, passes, ms in pipeline.ask(asked) if pipeline else ():
            sure = np.ones(len(masks))
            found.texts[name] += judge_texts(image, asked, masks=masks, presence=sure)
            found.costs[name].append((passes, ms))
        names = [*asked.present, *shown.absent]
        every = model.segment_text(embedding, names, threshold=1.0, refine=False).asked
        for index, (name, presence) in enumerate(zip(names, every.presence, strict=True)):
            found.pairs.append((image, name, index < len(asked.present), presence))
    return found


def add_prompts(measured: Measuring, answers: Answers, bootstrap: Bootstrap, *, who: str) -> None:
    """Mean IoU of the prompts over objects: of each split, by size, and over sets."""
    table = np.array(answers.objects, OBJECT_ROW)
    for split, images in answers.parts():
        rows = table[np.isin(table["owner"], images)]
        sizes = SIZES.items() if split == ALL else ()
        parts = {split: rows}
        parts |= {
            of: rows[(rows["share"] >= low) & (rows["share"] < up)] for of, (low, up) in sizes
        }
        for of, own in parts.items():
            names = [answers.sets[each] for each in own["owner"].tolist()]
            sets, groups = np.unique(names, return_inverse=True)
            statistics = {f"{who}: prompts": mean}
            if len(sets) > 1:
                statistics[f"{who}: prompts, mean over sets"] = partial(
                    mean_of_means, groups=groups
                )
            for subject, statistic in statistics.items() if len(own) else ():
                figures = {
                    prompt: bootstrap.estimate(statistic(own[prompt]), owners=own["owner"])
                    for prompt in PROMPTS
                }
                measured.add(subject, of, n=len(own), **figures)


def add_texts(
    measured: Measuring, answers: Answers, bootstrap: Bootstrap, *, threshold: float
) -> None:
    """Text-to-mask of each way and presence, by split; and the curve over all thresholds.

    Of all images, the mean cost of one too: CLIP's passes, and milliseconds.
    """
    pairs = np.array(answers.pairs, PAIR_ROW)
    for way, rows in answers.texts.items():
        table = np.array(rows, TEXT_ROW)
        for split, images in answers.parts():
            own = table[np.isin(table["owner"], images)]
            figures = text_figures(own, bootstrap, threshold=threshold)
            if split == ALL:
                passes, ms = np.mean(answers.costs[way], axis=0).tolist()
                figures |= {"clip_passes": passes, "milliseconds": round(ms, 1)}
            measured.add(way, split, n=len(np.unique(own["owner"])), **figures)
        for point, figures in curve(table) if way in ("clip_head", "both_heads") else ():
            measured.add(f"curve: {way}", str(point), **figures)
    for split, images in answers.parts():
        own = pairs[np.isin(pairs["owner"], images)]
        measured.add("presence", split, **presence_figures(own, bootstrap))


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

    Every image is ranked once, among all names of all namings; names that are read alike are one.
    """
    asked = dataset.namings()
    spoken = {clean_text(name): name for naming in asked for name in naming.names}
    indices = {name: index for index, name in enumerate(spoken)}
    rank = classify([*spoken.values()]) if spoken else None

    def placed(names: Iterable[str]) -> set[int]:
        return {indices[clean_text(each)] for each in names if clean_text(each) in indices}

    scores: dict[int, np.ndarray] = {}
    images = sorted({image for naming in asked for image in naming.right})
    for image in measured.track(images, f"names: {who}"):
        try:
            scores[image] = rank(dataset.read(image)) if rank else np.empty(0)
        except BrokenRecord as error:
            if broken is not None:
                broken[error.kind] += 1
    pooled: dict[str, list[dict[int, int]]] = defaultdict(list)
    for naming in asked:
        among, ranks = placed(naming.names), {}
        others = set(indices.values()) - among
        for image, names in naming.right.items():
            right = placed(names)
            if image in scores and right & among:
                passed = (others | placed(naming.neither.get(image, ()))) - right
                told = {"right": [*right & among], "passed_over": [*passed]}
                ranks[image] = rank_of_truth(scores[image], **told)
        pooled[naming.kind].append(ranks)
        _add_top(measured, ranks, bootstrap, f"{who}: {naming.kind}", naming.split, len(among))
    for kind, several in pooled.items():
        if len(several) > 1:
            every = {image: rank for ranks in several for image, rank in ranks.items()}
            _add_top(measured, every, bootstrap, f"{who}: {kind}", ALL)


def _add_top(
    measured: Measuring,
    ranks: Mapping[int, int],
    bootstrap: Bootstrap,
    subject: str,
    split: str,
    names: int | None = None,
) -> None:
    figures = top_k(np.array([*ranks.values()]), bootstrap, owners=np.array([*ranks]))
    if figures:
        measured.add(subject, split, n=len(ranks), names=names, **figures)
