"""`python -m benchmarks objects`: objects of names on held-out sets, as the field measures them.

Pictures of sets that label everything are asked for all names of their set, and every object that
is found counts, whatever its score, for average precision. Precision and recall are of the names
that are there, and cgF1 is of these and of some that are absent, from the least score on that is
told by default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from benchmarks.intervals import Bootstrap, Statistic, ratio
from benchmarks.metrics.average_precision import Results, average_precision
from benchmarks.metrics.cgf1 import Datum, cgf1, judge
from benchmarks.public.detection import by_one_model
from benchmarks.public.photographs import things_of
from benchmarks.quality.dataset import ALL
from benchmarks.quality.held_out import (
    HeldOutPictures,
    HeldOutSet,
    choose_held_out,
    read_list,
)
from benchmarks.suite import Measuring, ModelName, Runtime, Seed
from benchmarks.two_models import by_two_models
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.engine.options import default_min_score
from samclip_sdk.picture.masks import mask_to_rle
from training.asked_pictures import NamedObjects
from training.object_scores import right_objects
from training.real.records import BrokenRecord

PRECISION = 0.8
"""The precision at which recall is told."""

MOST = 100
"""Objects of a picture that are looked at, as COCO's evaluator does of a category."""

Named = tuple[str, float, np.ndarray]
"""An object: its name, its score, its mask bool [H,W]."""

_APS = ("ap", "ap50")
_PICTURE_ROW = [("told", int), ("right", int), ("wanted", int)]


def objects(
    measured: Measuring,
    root: Annotated[Path, typer.Argument(help="the sets of benchmarks/quality/held_out_sets.json")],
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    only: Annotated[
        list[str] | None, typer.Option(help="the sets that are asked; repeatable; by default all")
    ] = None,
    two_models: Annotated[
        bool, typer.Option("--two-models", help="a SAM and a CLIP in a row beside it")
    ] = False,
    teachers: Annotated[
        Path | None,
        typer.Option(help="RUNS/CONFIG: those two; else the model's own halves", exists=True),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="photographs a set, at most", min=1)] = None,
    seed: Seed = 0,
) -> None:
    """Measures the objects that a model finds by their names, on sets that no training saw.

    Average precision is COCO's. Precision and recall are of the names that are there, and cgF1 is
    SA-Co's, of these and five absent ones, all three at the least score that is told by default.
    """
    if teachers is not None and not two_models:
        raise ValueError("--teachers is of --two-models")
    sets = _asked_sets(only)
    samclip, bootstrap = SamClip.load(runtime, model=model), Bootstrap(seed=seed)
    measured.of(samclip)
    chosen = choose_held_out(root, sets, limit=limit, seed=seed)
    more = {"two_models": two_models, "teachers": teachers}
    measure_objects(measured, samclip, chosen, bootstrap, **more)
    measured.settings |= {"resamples": bootstrap.resamples}


def _asked_sets(only: Sequence[str] | None) -> tuple[HeldOutSet, ...]:
    """The sets of the list, or those of these names.

    Raises:
        ValueError: the list has no set of that name.
    """
    listed = {each.name: each for each in read_list()}
    for name in only or ():
        if name not in listed:
            raise ValueError(f"--only {name}: the list has {', '.join(listed)}")
    return tuple(each for name, each in listed.items() if not only or name in only)


class Judged(NamedTuple):
    """What was found in a picture: the objects of names that are there, float and bool [N].

    `wanted` objects of these names are there. `data` are of these names and of absent ones, above
    the least score.
    """

    picture: int
    scores: np.ndarray
    right: np.ndarray
    wanted: int
    data: list[Datum]


def measure_objects(
    measured: Measuring,
    model: SamClip,
    chosen: HeldOutPictures,
    bootstrap: Bootstrap,
    *,
    two_models: bool = False,
    teachers: Path | None = None,
) -> None:
    """The figures of a model, and of two in a row: its teachers, RUNS/CONFIG, or its own halves."""
    complete = [each for each in chosen.sets if chosen.photographs[each].found.complete]
    truth, names, asked = things_of(chosen.photographs, complete)
    calibration, spoken = model.manifest.calibration, [*names.values()]
    min_score = default_min_score(calibration, asked=None)
    measured.settings |= {"min_score": min_score}
    gate = calibration.presence_threshold
    detectors = {"model": by_one_model(model, spoken, most=MOST, threshold=gate)}
    if two_models:
        told = {"names": spoken, "run": teachers, "most": MOST}
        detectors["two_models"] = by_two_models(model, (), **told)
    for who, detect in detectors.items():
        judged, results = list[Judged](), Results()
        for picture, _, categories in measured.track(asked, f"objects: {who}"):
            try:
                shown, question = chosen.asked.objects(picture), chosen.question(picture).asked
            except BrokenRecord:
                continue
            objects = detect(shown.image, [names[each] for each in categories])
            for place, score, mask in objects:
                told = {"image_id": picture, "category_id": categories[place], "score": score}
                results.append(told | {"segmentation": mask_to_rle(np.asarray(mask))})
            named = [(names[categories[place]], score, mask) for place, score, mask in objects]
            absent = () if question is None else question.absent
            judged.append(_judge(picture, named, shown, absent=absent, min_score=min_score))
        more = {"truth": truth, "results": results, "min_score": min_score}
        _add(measured, judged, chosen, bootstrap, who=who, **more)


def _judge(
    picture: int,
    named: Sequence[Named],
    shown: NamedObjects,
    *,
    absent: Sequence[str],
    min_score: float,
) -> Judged:
    own = [each for each in named if each[0] in shown.names]
    masks = np.array([mask for _, _, mask in own], bool).reshape(-1, *shown.image.shape[:2])
    scores = np.array([score for _, score, _ in own])
    right = right_objects([name for name, _, _ in own], masks, shown)
    sure = [each for each in named if each[1] >= min_score]
    phrases = [*sorted(set(shown.names)), *absent]
    data = [_datum(phrase, sure, shown) for phrase in phrases]
    return Judged(picture, scores, right, len(shown.names), data)


def _datum(phrase: str, named: Sequence[Named], shown: NamedObjects) -> Datum:
    found = [mask_to_rle(np.asarray(mask)) for name, _, mask in named if name == phrase]
    pairs = zip(shown.names, shown.masks, strict=True)
    return judge(found, [[mask_to_rle(mask) for name, mask in pairs if name == phrase]])


def _add(
    measured: Measuring,
    judged: Sequence[Judged],
    chosen: HeldOutPictures,
    bootstrap: Bootstrap,
    *,
    who: str,
    truth: dict[str, Any],
    results: Results,
    min_score: float,
) -> None:
    of_split = defaultdict[str, list[Judged]](list)
    for each in judged:
        for split in chosen.splits(each.picture):
            of_split[split].append(each)
    for split in sorted(of_split, key=lambda split: split == ALL):
        ids, scores, right, counts, data = zip(*of_split[split], strict=True)
        wanted = np.array(counts)
        table = np.array(
            [
                ((score >= min_score).sum(), (own & (score >= min_score)).sum(), count)
                for score, own, count in zip(scores, right, wanted, strict=True)
            ],
            _PICTURE_ROW,
        )
        statistics: dict[str, Statistic] = {
            "precision": ratio(table["right"], table["told"]),
            "recall": ratio(table["right"], table["wanted"]),
            "recall_at_80": recall_at(PRECISION, scores=scores, right=right, wanted=wanted),
        }
        for name in ("cgf1", "pmf1", "il_mcc"):
            statistics[name] = _of_names(data, name)
        owners = np.arange(len(ids))
        figures = {
            name: bootstrap.estimate(each, owners=owners) for name, each in statistics.items()
        }
        aps: dict[str, float | None] = dict.fromkeys(_APS, 0.0)
        if results:
            found = average_precision(truth, results, ids, by="coco", kind="segm")
            aps = {name: found[name] for name in _APS}
        told = {"wanted": int(wanted.sum()), "told": int(table["told"].sum())}
        measured.add(f"{who}: objects", split, n=len(ids), **figures, **aps, **told)


def recall_at(
    precision: float,
    *,
    scores: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    wanted: np.ndarray,
) -> Statistic:
    """The greatest recall of any least score with this precision, over pictures; 0 if none has."""
    owners = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    order = np.argsort(-np.concatenate([*scores, []]), kind="stable")
    hits, owners = np.concatenate([*right, []])[order], owners[order]

    def statistic(weights: np.ndarray) -> float | None:
        own, total = weights[owners], float(weights @ wanted)
        found = np.cumsum(own * hits)
        good = found >= precision * np.maximum(np.cumsum(own), 1)
        return float(found[good].max(initial=0) / total) if total else None

    return statistic


def _of_names(data: Sequence[Sequence[Datum]], name: str) -> Statistic:
    def statistic(weights: np.ndarray) -> float | None:
        drawn = [
            each
            for own, count in zip(data, weights.astype(int).tolist(), strict=True)
            for each in own * count
        ]
        return cgf1(drawn)[name] if drawn else None

    return statistic
