"""Figures on photographs with intervals: masks of texts and of prompts, and presence.

What is asked gives rows, each of a picture. A figure is a statistic of rows; its interval tells how
it varies over resamples of their pictures, where a row counts as often as its picture was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.photographs import record
from benchmarks.quality.scores import iou, ious_of_prompts
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.picture.masks import mask_to_box
from training.asked_pictures import AskedPicture
from training.text.class_names import imagenet_lemmas
from training.text.wordnet import WordNet

Statistic = Callable[[np.ndarray], float | None]
"""How often each row counts, float [M], to a figure; None where that counts nothing."""

TEXT_ROW = [("owner", int), ("present", bool), ("presence", float), ("iou", float), ("mask", bool)]
"""What a label got in a picture, whatever its presence; an empty mask is none."""

OBJECT_ROW = [("owner", int), ("share", float), ("box", float), ("point", float)]
"""An object's share of its picture, and the IoU of its mask by each prompt."""

PAIR_ROW = [("owner", int), ("name", object), ("present", bool), ("presence", float)]
"""A picture and a name that it shows, or is known not to show."""

SIZES: dict[str, tuple[float, float]] = {
    "below 2 %": (0.0, 0.02),
    "2 to 10 %": (0.02, 0.1),
    "above 10 %": (0.1, 2.0),
}
"""Name -> from which share of the picture on, and below which."""

_INTERVAL = (0.025, 0.975)
_CURVE_POINTS = 51


@dataclass(frozen=True)
class Bootstrap:
    """Draws as many pictures as there are, with replacement, `resamples` times, by a seed."""

    resamples: int
    seed: int

    def estimate(self, statistic: Statistic, *, owners: np.ndarray) -> record.Estimate | None:
        """The figure of all rows, each once, and its interval; None if nothing counts.

        `owners`, int [M], has the picture of each row.
        """
        pictures, places = np.unique(owners, return_inverse=True)
        value = statistic(np.ones(len(owners)))
        if value is None:
            return None
        rng = np.random.default_rng(self.seed)
        even = np.full(len(pictures), 1 / len(pictures))
        draws = rng.multinomial(len(pictures), even, size=self.resamples).astype(np.float64)
        found = [each for counts in draws if (each := statistic(counts[places])) is not None]
        low, high = np.quantile(found, _INTERVAL).tolist()
        return record.Estimate(value=round(float(value), 4), low=round(low, 4), high=round(high, 4))


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Statistic:
    """The sum of numerators [M] over that of denominators [M]."""

    def statistic(weights: np.ndarray) -> float | None:
        total = float(weights @ denominators)
        return float(weights @ numerators) / total if total else None

    return statistic


def mean(values: np.ndarray) -> Statistic:
    """The mean of values [M]."""
    return ratio(values.astype(np.float64), np.ones(len(values)))


def mean_of_means(values: np.ndarray, *, groups: np.ndarray) -> Statistic:
    """The mean of values [M] in each group, int [M], and then over the groups that count."""

    def statistic(weights: np.ndarray) -> float | None:
        totals = np.bincount(groups, weights)
        sums = np.bincount(groups, weights * values)
        there = totals > 0
        return float((sums[there] / totals[there]).mean()) if there.any() else None

    return statistic


def area_under_curve(scores: np.ndarray, present: np.ndarray) -> Statistic:
    """How often a present row scores above an absent one, [M] both; a tie is worth a half."""
    _, places = np.unique(scores, return_inverse=True)

    def statistic(weights: np.ndarray) -> float | None:
        right = np.bincount(places, weights * present)
        wrong = np.bincount(places, weights * ~present)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(wrong) - wrong / 2
        return float(right @ below / pairs) if pairs else None

    return statistic


def matthews(found: np.ndarray, present: np.ndarray) -> Statistic:
    """The correlation of what was found with what is there, bool [M] both, of -1 to 1."""

    def statistic(weights: np.ndarray) -> float | None:
        both, neither = (float(weights @ each) for each in (found & present, ~found & ~present))
        false, missed = (float(weights @ each) for each in (found & ~present, ~found & present))
        sides = (both + false) * (both + missed) * (neither + false) * (neither + missed)
        return (both * neither - false * missed) / sides**0.5 if sides else None

    return statistic


def judge_texts(
    owner: int, asked: AskedPicture, *, masks: Sequence[np.ndarray], presence: np.ndarray
) -> Iterator[tuple[object, ...]]:
    """The rows of a mask, bool [H,W], and a presence for each label that a picture was asked."""
    for place, mask in enumerate(masks):
        present = place < len(asked.present)
        worth = iou(mask, asked.masks[place]) if present else 0.0
        yield owner, present, presence[place], worth, mask.any()


def text_to_mask_rows(
    table: np.ndarray,
    bootstrap: Bootstrap,
    *,
    heads: record.Heads,
    threshold: float,
    sets: Sequence[str],
) -> Iterator[record.TextToMask]:
    """A row over all pictures, then one of each set; `sets` has the set of each of N pictures."""
    of_row = np.array(sets)[table["owner"]]
    for of in (record.ALL, *np.unique(of_row).tolist()):
        rows = table if of == record.ALL else table[of_row == of]
        there, found = rows["present"], rows["mask"] & (rows["presence"] >= threshold)
        worth = rows["iou"] * (found & there)

        def estimate(
            numerators: np.ndarray, denominators: np.ndarray, owners: np.ndarray = rows["owner"]
        ) -> record.Estimate | None:
            as_floats = (each.astype(np.float64) for each in (numerators, denominators))
            return bootstrap.estimate(ratio(*as_floats), owners=owners)

        if there.any():
            yield record.TextToMask(
                heads=heads,
                of=of,
                pictures=len(np.unique(rows["owner"])),
                present=int(there.sum()),
                absent=int((~there).sum()),
                miou=estimate(worth, there | found),
                miou_present=estimate(worth, there),
                found=estimate(found & there, there),
                false=estimate(found & ~there, ~there),
            )


def curve(table: np.ndarray) -> Iterator[record.CurvePoint]:
    """What thresholds would give that part all labels evenly, the lowest first."""
    there = table["present"]
    count, absent = int(there.sum()), int((~there).sum())
    if not count or not absent:
        return
    shares = np.linspace(0, 1, _CURVE_POINTS)
    for threshold in np.unique(np.quantile(table["presence"], shares)).tolist():
        found = table["mask"] & (table["presence"] >= threshold)
        right, wrong = found & there, int((found & ~there).sum())
        worth = float(table["iou"][right].sum())
        yield record.CurvePoint(
            threshold=threshold,
            found=int(right.sum()) / count,
            false=wrong / absent,
            miou=worth / (count + wrong),
            miou_present=worth / count,
        )


def judge_objects(
    owner: int, model: SamClip, image: ImageEmbedding, masks: np.ndarray
) -> Iterator[tuple[object, ...]]:
    """The rows of all objects, bool [N,H,W], asked by tight box and by innermost pixel."""
    boxes = np.stack([mask_to_box(mask) for mask in masks]).astype(np.float32)
    ious = ious_of_prompts(model, image, masks=masks, boxes=boxes, multimask_output=False)
    yield from zip([owner] * len(masks), masks.mean(axis=(1, 2)), *ious, strict=True)


def prompt_rows(
    objects: Sequence[Any], bootstrap: Bootstrap, *, sets: Sequence[str]
) -> Iterator[record.PromptIou]:
    """Over all objects and by size, each also as the mean over sets; then by set."""
    table = np.array(objects, OBJECT_ROW)
    names, groups = np.unique(np.array(sets)[table["owner"]], return_inverse=True)
    parts = {record.ALL: np.ones(len(table), bool)}
    for size, (low, high) in SIZES.items():
        parts[size] = (table["share"] >= low) & (table["share"] < high)
    parts |= {str(name): groups == place for place, name in enumerate(names)}
    for of, part in parts.items():
        rows, sets_of = table[part], groups[part]
        statistics = {"objects": mean}
        if of == record.ALL or of in SIZES:
            statistics["sets"] = lambda values, own=sets_of: mean_of_means(values, groups=own)
        for over, statistic in statistics.items():
            if len(rows):
                box, point = (
                    bootstrap.estimate(statistic(rows[prompt]), owners=rows["owner"])
                    for prompt in ("box", "point")
                )
                yield record.PromptIou(of=of, over=over, objects=len(rows), box=box, point=point)


def presence_rows(
    pairs: Sequence[Any], bootstrap: Bootstrap, *, taught: dict[str, record.Taught]
) -> Iterator[record.PresenceAuc]:
    """Over all names, and over those that were taught one way."""
    table = np.array(pairs, PAIR_ROW)
    asked = {name: taught[name] for name in sorted(set(table["name"])) if name in taught}
    for kind in kinds_of(asked.values()):
        own = [kind == record.ALL or asked.get(name) == kind for name in table["name"]]
        rows = table[np.array(own, bool)]
        area = area_under_curve(rows["presence"], rows["present"])
        auc = bootstrap.estimate(area, owners=rows["owner"])
        if auc is not None:
            yield record.PresenceAuc(
                taught=kind,
                names=len(set(rows["name"])),
                present=int(rows["present"].sum()),
                absent=int((~rows["present"]).sum()),
                auc=auc,
            )


def how_taught(
    names: Sequence[str], *, held_out: Sequence[str], wordnet: WordNet
) -> dict[str, record.Taught]:
    """Parts cleaned names by how they were taught.

    A name that holds one of the `held_out` nouns as a whole word is held out. Near are the nouns
    that are a kind of a taught noun, or of the same kind as one, in any of their meanings that a
    photograph can show. Taught are all names that are not held out, and ImageNet's classes.
    """
    classes = {lemma for lemmas in imagenet_lemmas() for lemma in lemmas}
    seen = {name for name in names if not named_labels(name, held_out)}
    meanings: dict[str, list[int]] = {}
    for synset in wordnet.visible():
        for name in synset.names:
            meanings.setdefault(name.lower(), []).append(synset.offset)
    known = {offset for name in seen | classes for offset in meanings.get(name, ())}
    parents = {parent for offset in known for parent in wordnet.synsets[offset].parents}

    def of(name: str) -> record.Taught:
        if name in seen:
            return "seen"
        if name in classes:
            return "classes"
        for offset in meanings.get(name, ()):
            if parents & set(wordnet.synsets[offset].parents) or known & set(wordnet.above(offset)):
                return "near"
        return "far"

    return {name: of(name) for name in names}


def named_labels(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that a text has as whole words, in the singular or a plural in -s or -es."""
    return tuple(
        label
        for label in labels
        if re.search(rf"(?<!\w){re.escape(label)}(?:e?s)?(?!\w)", text, re.IGNORECASE)
    )


def kinds_of(taught: Iterable[str]) -> list[str]:
    """All, and the ways that there are, if there are several."""
    there = set(taught)
    ways = [kind for kind in ("seen", "classes", "near", "far") if kind in there]
    return [record.ALL, *(ways if len(ways) > 1 else [])]
