"""`python -m benchmarks quality --held-out-sets ROOT`: on sets that no training has a part in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Measurement
from benchmarks.photographs import figures
from benchmarks.photographs.held_out_record import (
    Among,
    GroupQuality,
    HeldOutFigures,
    HeldOutQuality,
    HeldOutSettings,
    NameQuality,
    render,
)
from benchmarks.photographs.held_out_sets import HeldOutPictures, choose_held_out, read_list
from benchmarks.photographs.naming import imagenet_names
from benchmarks.photographs.record import ALL
from benchmarks.quality.scores import rank_of_truth
from benchmarks.report import join_tables, track
from samclip_sdk import SamClip
from samclip_sdk.runtimes.source import BundleSource
from training.real.photograph_questions import objects_of, read_photograph
from training.real.records import BrokenRecord


@dataclass
class _Answers:
    """Rows of what was asked, as `figures` has them; `broken` counts pictures by kind."""

    texts: list[Any]
    pairs: list[Any]
    objects: list[Any]
    broken: Counter[str]


def measure_held_out_sets(
    model: SamClip, measured: Measurement, *, root: Path, limit: int | None, seed: int
) -> None:
    """Measures a model on the sets of the committed list below `root`, and writes the record."""
    chosen = choose_held_out(root, read_list(), limit=limit, seed=seed)
    counts = Counter(each.name for each in chosen.sets.values())
    settings = HeldOutSettings(pictures=dict(sorted(counts.items())), limit=limit, seed=seed)
    found = measure_pictures(model, chosen, settings=settings)
    record = HeldOutQuality(**measured.run(model), **dict(found), settings=settings)
    measured.finish(record, join_tables(render(record)))


def measure_pictures(
    model: SamClip, chosen: HeldOutPictures, *, settings: HeldOutSettings
) -> HeldOutFigures:
    """Asks a model for texts and objects by group, and for names; broken pictures are counted."""
    answers = _ask(model, chosen)
    return HeldOutFigures(
        groups=tuple(_groups(model, chosen, answers, settings=settings)),
        names=tuple(_names(model, chosen, settings=settings, broken=answers.broken)),
        broken=dict(answers.broken),
    )


def _ask(model: SamClip, chosen: HeldOutPictures) -> _Answers:
    """Asks every picture for its texts and its objects."""
    found = _Answers([], [], [], Counter())
    photographs = chosen.photographs
    for picture in track(list(chosen.sets), "masks of held-out sets"):
        try:
            asked, objects = chosen.question(picture), objects_of(photographs, picture)
            if asked is None and not len(objects):
                continue
            image = model.encode_image(read_photograph(photographs, picture))
            if len(objects):
                found.objects += figures.judge_objects(picture, model, image, objects)
            if asked is None or not asked.labels:
                continue
            answer = model.segment_text(image, asked.labels, threshold=0.0, refine=True)
            found.texts += figures.judge_texts(
                picture, asked, masks=answer.masks, presence=answer.presence
            )
            names = [*asked.present, *chosen.absent(picture)]
            every = model.segment_text(image, names, threshold=1.0, refine=False).asked
            for place, name in enumerate(names):
                present = place < len(asked.present)
                found.pairs.append((picture, name, present, every.presence[place]))
        except BrokenRecord as error:
            found.broken[error.kind] += 1
    return found


def _groups(
    model: SamClip, chosen: HeldOutPictures, answers: _Answers, *, settings: HeldOutSettings
) -> Iterator[GroupQuality]:
    """The figures of each group and of all; if some are seen, again of the fresh pictures alone."""
    fresh = {picture: chosen.fresh(picture) for picture in chosen.sets}
    yield from _rows(model, chosen, answers, settings=settings, of=set(fresh), fresh=False)
    if not all(fresh.values()):
        own = {picture for picture, is_fresh in fresh.items() if is_fresh}
        yield from _rows(model, chosen, answers, settings=settings, of=own, fresh=True)


def _rows(
    model: SamClip,
    chosen: HeldOutPictures,
    answers: _Answers,
    *,
    settings: HeldOutSettings,
    of: set[int],
    fresh: bool,
) -> Iterator[GroupQuality]:
    """The figures of each group in the order of the list, and of all, over some pictures."""
    bootstrap = figures.Bootstrap(settings.resamples, settings.seed)
    threshold = model.manifest.calibration.presence_threshold
    of_picture = {picture: each.group for picture, each in chosen.sets.items()}
    table = np.array(answers.texts, figures.TEXT_ROW)
    pairs, objects = answers.pairs, answers.objects
    for group in (*chosen.groups, ALL):
        own = {each for each in of if group in (of_picture[each], ALL)}
        sets = [group] * len(chosen.photographs)
        rows = table[np.isin(table["owner"], list(own))]
        owners, there = rows["owner"], rows["present"]
        found = rows["mask"] & (rows["presence"] >= threshold)
        worth = rows["iou"] * (rows["mask"] & there)
        texts = figures.text_to_mask_rows(
            rows, bootstrap, heads="both_heads", threshold=threshold, sets=sets
        )
        asked = [row for row in pairs if row[0] in own]
        prompted = [row for row in objects if row[0] in own]
        counts = there.astype(np.float64)
        yield GroupQuality(
            of=group,
            fresh=fresh,
            pictures=len(own),
            texts=next(texts, None),
            ungated=bootstrap.estimate(figures.ratio(worth, counts), owners=owners),
            il_mcc=bootstrap.estimate(figures.matthews(found, there), owners=owners),
            presence=next(figures.presence_rows(asked, bootstrap, taught={}), None),
            prompts=next(figures.prompt_rows(prompted, bootstrap, sets=sets), None),
        )


def _names(
    model: SamClip, chosen: HeldOutPictures, *, settings: HeldOutSettings, broken: Counter[str]
) -> Iterator[NameQuality]:
    """Names of whole pictures, of each set that has them and of all."""
    right = {picture: chosen.names(picture) for picture in chosen.sets}
    right = {p: names for p, names in right.items() if chosen.sets[p].named and names}
    lists = _lists(model, chosen, right)
    every = sorted(set().union(*(names for of_set in lists.values() for names in of_set.values())))
    ranks: dict[Among, dict[str, dict[int, int]]] = {"own": {}, "taught": {}, "imagenet": {}}
    for picture, names in track(right.items(), "names of held-out sets", total=len(right)):
        try:
            image = read_photograph(chosen.photographs, picture)
        except BrokenRecord as error:
            broken[error.kind] += 1
            continue
        of = chosen.sets[picture]
        scores = dict(zip(every, model.classify(image, every).logits.tolist(), strict=True))
        for among, offered in lists[of.name].items():
            rank = _rank(scores, offered=sorted(offered), right=names, neither=of.unasked)
            ranks[among].setdefault(of.name, {})[picture] = rank
    bootstrap = figures.Bootstrap(settings.resamples, settings.seed)
    for among, by_set in ranks.items():
        pooled = {picture: rank for each in by_set.values() for picture, rank in each.items()}
        parts = {**by_set, ALL: pooled} if len(by_set) > 1 else by_set
        for name, part in parts.items():
            owners, before = np.array([*part]), np.array([*part.values()])
            top1, top5 = (
                bootstrap.estimate(figures.mean(before < first), owners=owners) for first in (1, 5)
            )
            labels = 0 if name == ALL else len(lists[name][among])
            counts = {"pictures": len(part), "labels": labels}
            yield NameQuality(of=name, among=among, top1=top1, top5=top5, **counts)


def _lists(
    model: SamClip, chosen: HeldOutPictures, right: Mapping[int, frozenset[str]]
) -> dict[str, dict[Among, set[str]]]:
    """The names that pictures of each set are told apart by."""
    own: dict[str, set[str]] = {}
    for picture, names in right.items():
        own.setdefault(chosen.sets[picture].name, set()).update(names)
    taught, classes = _taught_names(model), set(imagenet_names()[0])
    lists: dict[str, dict[Among, set[str]]] = {}
    for name, names_of in own.items():
        lists[name] = {"own": names_of, "taught": names_of.union(taught)}
        if names_of <= classes:
            lists[name]["imagenet"] = classes
    return lists


def _rank(
    scores: Mapping[str, float],
    *,
    offered: Sequence[str],
    right: frozenset[str],
    neither: Sequence[str],
) -> int:
    """How many of the names offered that are wrong score as high as the best right one."""
    places = {name: place for place, name in enumerate(offered)}
    return rank_of_truth(
        np.array([scores[name] for name in offered]),
        right=[places[name] for name in right],
        passed_over=[places[name] for name in neither if name in places],
    )


def _taught_names(model: SamClip) -> tuple[str, ...]:
    """The names that a bundle brings, with their embeddings; none of a checkpoint."""
    source = model.source
    path = source.nouns_path if isinstance(source, BundleSource) else None
    return () if path is None else model.load_vocabulary(path)
