"""`python -m benchmarks objects`: objects of names on held-out sets, as the field measures them.

Images of sets that label everything are asked for all names of their set, and every object that
is found counts, whatever its score, for average precision. Precision and recall are of the names
that are there, and cgF1 is of these and of some that are absent, from the least score on that is
told by default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from benchmarks.intervals import Bootstrap, Statistic, ratio
from benchmarks.metrics.average_precision import Results, average_precision
from benchmarks.metrics.cgf1 import Datum, Rle, cgf1, judge
from benchmarks.public.detection import by_one_model, things_of
from benchmarks.quality.dataset import ALL
from benchmarks.quality.everything import measure_everything
from benchmarks.quality.held_out import HeldOutImages, choose_held_out, read_list
from benchmarks.suite import Measuring, ModelName, Runtime, Seed
from benchmarks.two_models import by_two_models
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.engine.options import default_min_score
from samclip_sdk.image.masks import mask_to_rle
from training.asked_images import NamedObjects
from training.object_scores import right_objects
from training.real.records import BrokenRecord

PRECISION = 0.8
"""The precision at which recall is told."""

CROWDS = {"recall_one": (1, 1), "recall_few": (2, 3), "recall_many": (4, 1 << 30)}
"""Recall of names by how many objects of a name an image has: the least and the most."""

MAX = 100
"""Objects of an image that are looked at, as COCO's evaluator does of a category."""

Named = tuple[str, float, np.ndarray, Rle]
"""An object: its name, its score, its mask bool [H,W], also as COCO's RLE."""


def objects(
    measured: Measuring,
    root: Annotated[Path, typer.Argument(help="the sets of benchmarks/quality/held_out_sets.json")],
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    only: Annotated[
        list[str] | None, typer.Option(help="the sets that are asked; repeatable; by default all")
    ] = None,
    two_models: Annotated[
        bool, typer.Option("--two-models", help="the model's own halves in a row beside it")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="ask for everything in the images, too")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Measures the objects that a model finds by their names, on sets that no training saw.

    Average precision is COCO's. Precision and recall are of the names that are there, and cgF1 is
    SA-Co's, of these and five absent ones, all three at the least score that is told by default.
    """
    listed = {each.name: each for each in read_list()}
    if unknown := set(only or ()) - set(listed):
        raise ValueError(f"--only {', '.join(unknown)}: the list has {', '.join(listed)}")
    sets = [each for name, each in listed.items() if not only or name in only]
    samclip, bootstrap = measured.of(SamClip.load(runtime, model=model)), Bootstrap(seed=seed)
    chosen = choose_held_out(root, sets, seed=seed)
    measure_objects(measured, samclip, chosen, bootstrap, two_models=two_models)
    if everything:
        complete = [each for each in chosen.sets if chosen.photographs[each].found.complete]
        asked = [each for each, *_ in things_of(chosen.photographs, complete)[2]]
        measure_everything(measured, samclip, chosen, asked, bootstrap)
    measured.settings |= {"resamples": bootstrap.resamples}


class Judged(NamedTuple):
    """What was found in an image: the objects of names that are there, float and bool [N].

    `counts` int [N] and `wanted` int [M] tell how many objects of its name there are, of each that
    was found and of each that is there. `data` are of these names and of absent ones, above the
    least score.
    """

    image: int
    scores: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    wanted: np.ndarray
    data: list[Datum]


def measure_objects(
    measured: Measuring,
    model: SamClip,
    chosen: HeldOutImages,
    bootstrap: Bootstrap,
    *,
    two_models: bool = False,
) -> None:
    """The figures of a model, and of its own halves in a row."""
    complete = [each for each in chosen.sets if chosen.photographs[each].found.complete]
    truth, names, images = things_of(chosen.photographs, complete)
    calibration, spoken = model.manifest.calibration, [*names.values()]
    min_score = default_min_score(calibration, min_score=None)
    measured.settings |= {"min_score": min_score}
    gate = calibration.presence_threshold
    detectors = {"model": by_one_model(model, spoken, maximum=MAX, threshold=gate)}
    if two_models:
        told = {"names": spoken, "run": None, "maximum": MAX}
        detectors["two_models"] = by_two_models(model, (), **told)
    for who, detect in detectors.items():
        judged, results = list[Judged](), Results()
        for image, _, categories in measured.track(images, f"objects: {who}"):
            try:
                shown, asked = chosen.asked.objects(image), chosen.question(image).asked
            except BrokenRecord:
                continue
            found = list[Named]()
            for index, score, mask in detect(shown.image, [names[each] for each in categories]):
                rle, category = mask_to_rle(np.asarray(mask)), categories[index]
                found.append((names[category], score, mask, rle))
                told = {"image_id": image, "category_id": category, "score": score}
                results.append(told | {"segmentation": rle})
            absent = () if asked is None else asked.absent
            judged.append(_judge(image, found, shown, absent=absent, min_score=min_score))
        splits = dict.fromkeys(split for each in judged for split in chosen.splits(each.image))
        for split in sorted(splits, key=lambda split: split == ALL):
            own = [each for each in judged if split in chosen.splits(each.image)]
            figures = _figures(own, bootstrap, min_score=min_score)
            aps: dict[str, float | None] = {}
            if results:
                ids = [each.image for each in own]
                aps = average_precision(truth, results, ids, by="coco", kind="segm")
            figures |= {name: aps.get(name, 0.0) for name in ("ap", "ap50")}
            measured.add(f"{who}: objects", split, n=len(own), **figures)


def _judge(
    image: int,
    found: Sequence[Named],
    shown: NamedObjects,
    *,
    absent: Sequence[str],
    min_score: float,
) -> Judged:
    own = [each for each in found if each[0] in shown.names]
    masks = np.array([mask for _, _, mask, _ in own], bool).reshape(-1, *shown.image.shape[:2])
    right = right_objects([name for name, *_ in own], masks, shown)
    truths = [*zip(shown.names, map(mask_to_rle, shown.masks), strict=True)]
    data = [
        judge(
            [rle for name, score, _, rle in found if name == phrase and score >= min_score],
            [[rle for name, rle in truths if name == phrase]],
        )
        for phrase in (*sorted(set(shown.names)), *absent)
    ]
    scores = np.array([score for _, score, *_ in own])
    number = Counter(shown.names)
    counts = np.array([number[name] for name, *_ in own], int)
    wanted = np.array([number[name] for name in shown.names], int)
    return Judged(image, scores, right, counts, wanted, data)


def _figures(judged: Sequence[Judged], bootstrap: Bootstrap, *, min_score: float) -> dict[str, Any]:
    _, scores, right, counts, each_wanted, data = zip(*judged, strict=True)
    wanted = np.array([len(each) for each in each_wanted])
    told = np.array([(each >= min_score).sum() for each in scores])
    hit = [own & (s >= min_score) for s, own in zip(scores, right, strict=True)]
    hits = np.array([each.sum() for each in hit])
    statistics: dict[str, Statistic] = {
        "precision": ratio(hits, told),
        "recall": ratio(hits, wanted),
        "recall_at_80": recall_at(PRECISION, scores=scores, right=right, wanted=wanted),
        **{name: partial(_of_names, data, name) for name in ("cgf1", "pmf1", "il_mcc")},
        **{
            name: ratio(_inside(bounds, counts, hit), _inside(bounds, each_wanted, each_wanted))
            for name, bounds in CROWDS.items()
        },
    }
    owners = np.arange(len(judged))
    figures = {name: bootstrap.estimate(each, owners=owners) for name, each in statistics.items()}
    return {**figures, "wanted": int(wanted.sum()), "told": int(told.sum())}


def _inside(
    bounds: tuple[int, int], counts: Sequence[np.ndarray], counted: Sequence[np.ndarray]
) -> np.ndarray:
    """How many of what is counted have a count within bounds, by image."""
    minimum, maximum = bounds
    pairs = zip(counts, counted, strict=True)
    return np.array(
        [((own >= minimum) & (own <= maximum) & (each > 0)).sum() for own, each in pairs]
    )


def recall_at(
    precision: float,
    *,
    scores: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    wanted: np.ndarray,
) -> Statistic:
    """The greatest recall of any least score with this precision, over images; 0 if none has."""
    owners = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    order = np.argsort(-np.concatenate([*scores, []]), kind="stable")
    hits, owners = np.concatenate([*right, []])[order], owners[order]

    def statistic(weights: np.ndarray) -> float | None:
        own, total = weights[owners], float(weights @ wanted)
        found = np.cumsum(own * hits)
        good = found >= precision * np.maximum(np.cumsum(own), 1)
        return float(found[good].max(initial=0) / total) if total else None

    return statistic


def _of_names(data: Sequence[Sequence[Datum]], name: str, weights: np.ndarray) -> float | None:
    counts = weights.astype(int).tolist()
    drawn = [each for own, count in zip(data, counts, strict=True) for each in own * count]
    return cgf1(drawn)[name] if drawn else None
