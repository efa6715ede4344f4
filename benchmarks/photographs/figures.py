"""Figures on photographs with bootstrap intervals: masks of texts and prompts, and presence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.photographs.record import (
    ALL,
    CurvePoint,
    Estimate,
    Heads,
    PresenceAuc,
    PromptIou,
    Taught,
    TextToMask,
)
from benchmarks.quality.scores import best_ious, innermost_pixel, iou
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.masks import mask_to_box
from training.asked_pictures import AskedPicture
from training.real.captioned_pictures import named_labels
from training.text.class_names import imagenet_lemmas
from training.text.wordnet import WordNet

Statistic = Callable[[np.ndarray], float | None]
"""How often each row counts, float [M], to a figure; None where that counts nothing."""

_INTERVAL = (0.025, 0.975)
_DIGITS = 4


@dataclass(frozen=True)
class Bootstrap:
    """Draws as many pictures as there are, with replacement, `resamples` times, by a seed."""

    resamples: int
    seed: int

    def estimate(self, statistic: Statistic, *, owners: np.ndarray) -> Estimate | None:
        """The figure of all rows, each once, and its interval; None if nothing counts.

        Args:
            statistic: of the rows.
            owners: int [M], the picture of each row.
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
        rounded = (round(float(each), _DIGITS) for each in (value, low, high))
        return Estimate(**dict(zip(("value", "low", "high"), rounded, strict=True)))


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


def how_taught(
    names: Sequence[str], *, held_out: Sequence[str], wordnet: WordNet
) -> dict[str, Taught]:
    """Parts names by how they were taught.

    Args:
        names: cleaned.
        held_out: nouns; a name that holds one as a whole word is held out.
        wordnet: tells which nouns are near: those that are a kind of a taught noun, or of the same
            kind as one, in any of their meanings that a photograph can show. Taught are all names
            that are not held out, and those of ImageNet's classes.
    """
    classes = {lemma for lemmas in imagenet_lemmas() for lemma in lemmas}
    seen = {name for name in names if not named_labels(name, held_out)}
    meanings = _meanings(wordnet)
    known = {offset for name in seen | classes for offset in meanings.get(name, ())}
    parents = {parent for offset in known for parent in wordnet.synsets[offset].parents}

    def of(name: str) -> Taught:
        if name in seen:
            return "seen"
        if name in classes:
            return "classes"
        for offset in meanings.get(name, ()):
            if parents & set(wordnet.synsets[offset].parents) or known & set(wordnet.above(offset)):
                return "near"
        return "far"

    return {name: of(name) for name in names}


def names_of(taught: dict[str, Taught], kind: str) -> frozenset[str]:
    """The names that were taught one way, or all of them."""
    return frozenset(name for name, each in taught.items() if kind in ("all", each))


def kinds_of(taught: Iterable[Taught]) -> list[str]:
    """All, and the ways that there are, if there are several."""
    there = set(taught)
    ways = [kind for kind in ("seen", "classes", "near", "far") if kind in there]
    return ["all", *(ways if len(ways) > 1 else [])]


def _meanings(wordnet: WordNet) -> dict[str, list[int]]:
    """Name -> the synsets that a photograph can show."""
    found: dict[str, list[int]] = {}
    for synset in wordnet.visible():
        for name in synset.names:
            found.setdefault(name.lower(), []).append(synset.offset)
    return found


SIZES: dict[str, tuple[float, float]] = {
    "below 2 %": (0.0, 0.02),
    "2 to 10 %": (0.02, 0.1),
    "above 10 %": (0.1, 2.0),
}
"""Name -> from which share of the picture on, and below which."""


@dataclass
class ObjectIous:
    """The IoU of every object by each prompt: a row each."""

    owners: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    box: list[float] = field(default_factory=list)
    point: list[float] = field(default_factory=list)

    def add(self, owner: int, model: SamClip, image: ImageEmbedding, masks: np.ndarray) -> None:
        """Asks for every object, bool [N,H,W], by its tight box and by its innermost pixel."""
        boxes = np.stack([mask_to_box(mask) for mask in masks]).astype(np.float32)
        points = np.array([innermost_pixel(mask) for mask in masks], np.float32)[:, None]
        self.owners += [owner] * len(masks)
        self.shares += masks.mean(axis=(1, 2)).tolist()
        self.box += best_ious(
            model.segment(image, boxes=boxes, multimask_output=False), truth=masks
        )
        self.point += best_ious(
            model.segment(image, points=points, multimask_output=False), truth=masks
        )

    def rows(self, bootstrap: Bootstrap, *, sets: Sequence[str]) -> Iterator[PromptIou]:
        """Over all objects and by size, each also as the mean over sets; then by set."""
        owners, shares = np.array(self.owners, np.int64), np.array(self.shares)
        names, groups = np.unique(np.array(sets)[owners], return_inverse=True)
        parts = {ALL: np.ones(len(owners), bool)}
        parts |= {size: (shares >= low) & (shares < high) for size, (low, high) in SIZES.items()}
        parts |= {str(name): groups == place for place, name in enumerate(names)}
        ious = {"box": np.array(self.box), "point": np.array(self.point)}
        for of, part in parts.items():
            if not part.any():
                continue
            own, sets_of = owners[part], groups[part]
            found = {
                name: bootstrap.estimate(mean(values[part]), owners=own)
                for name, values in ious.items()
            }
            yield PromptIou(of=of, over="objects", objects=int(part.sum()), **found)
            if of == ALL or of in SIZES:
                means = {
                    name: bootstrap.estimate(
                        mean_of_means(values[part], groups=sets_of), owners=own
                    )
                    for name, values in ious.items()
                }
                yield PromptIou(of=of, over="sets", objects=int(part.sum()), **means)


@dataclass
class PresencePairs:
    """Pairs of a picture and a name that it shows, or is known not to show: a row each."""

    owners: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)

    def add(
        self,
        owner: int,
        model: SamClip,
        image: ImageEmbedding,
        *,
        present: tuple[str, ...],
        absent: tuple[str, ...],
    ) -> None:
        """Asks a picture for what it shows, and for all that it is known not to show."""
        names = (*present, *absent)
        if not names:
            return
        answer = model.segment_text(image, names, threshold=1.0, refine=False)
        self.owners += [owner] * len(names)
        self.names += names
        self.present += [True] * len(present) + [False] * len(absent)
        self.presence += answer.presence.tolist()

    def rows(self, bootstrap: Bootstrap, *, taught: dict[str, Taught]) -> Iterator[PresenceAuc]:
        """Over all names, and over those that were taught one way."""
        owners, present = np.array(self.owners, np.int64), np.array(self.present, bool)
        presence, names = np.array(self.presence), np.array(self.names)
        asked = {name: taught[name] for name in sorted(set(self.names)) if name in taught}
        for kind in kinds_of(asked.values()):
            own = names_of(asked, kind)
            rows = np.isin(names, sorted(own)) if kind != "all" else np.ones(len(names), bool)
            auc = bootstrap.estimate(
                area_under_curve(presence[rows], present[rows]), owners=owners[rows]
            )
            if auc is not None:
                yield PresenceAuc(
                    taught=kind,
                    names=len(set(names[rows].tolist())),
                    present=int(present[rows].sum()),
                    absent=int((~present[rows]).sum()),
                    auc=auc,
                )


REFINED: dict[Heads, bool] = {"clip_head": False, "both_heads": True}
"""Heads of one model -> whether the mask decoder refines what the CLIP head says."""

_POINTS = 51  # of a curve


@dataclass
class LabelAnswers:
    """What every label got in every picture, whatever its presence: a row each."""

    owners: list[int] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    masked: list[bool] = field(default_factory=list)

    def add(
        self,
        owner: int,
        asked: AskedPicture,
        *,
        masks: Sequence[np.ndarray],
        presence: np.ndarray,
    ) -> None:
        """Judges a mask, bool [H,W], for each label that a picture was asked; an empty one is none.

        Args:
            owner: the picture's number.
            asked: what it was asked for.
            masks: of the labels.
            presence: float [K], what a threshold is compared with.
        """
        for place, mask in enumerate(masks):
            present = place < len(asked.present)
            self.owners.append(owner)
            self.present.append(present)
            self.presence.append(float(presence[place]))
            self.ious.append(iou(mask, asked.masks[place]) if present else 0.0)
            self.masked.append(bool(mask.any()))

    def table(self) -> AnswerTable:
        """The rows as arrays."""
        return AnswerTable(
            owners=np.array(self.owners, np.int64),
            present=np.array(self.present, bool),
            presence=np.array(self.presence, np.float64),
            ious=np.array(self.ious, np.float64),
            masked=np.array(self.masked, bool),
        )


@dataclass(frozen=True)
class AnswerTable:
    """The rows of `LabelAnswers`, arrays [M]."""

    owners: np.ndarray
    present: np.ndarray
    presence: np.ndarray
    ious: np.ndarray
    masked: np.ndarray

    def found(self, threshold: float) -> np.ndarray:
        """Which labels get a mask at a presence threshold, bool [M]."""
        return self.masked & (self.presence >= threshold)

    def row(
        self, bootstrap: Bootstrap, *, heads: Heads, threshold: float, of: str, chosen: np.ndarray
    ) -> TextToMask | None:
        """The figures over the labels of some pictures, bool [N]; None if they show nothing."""
        rows = chosen[self.owners]
        there, gone = rows & self.present, rows & ~self.present
        found = self.found(threshold)
        worth = self.ious * (found & there)

        def estimate(numerators: np.ndarray, denominators: np.ndarray) -> Estimate | None:
            as_floats = (each[rows].astype(np.float64) for each in (numerators, denominators))
            return bootstrap.estimate(ratio(*as_floats), owners=self.owners[rows])

        miou, present = estimate(worth, there | (gone & found)), estimate(worth, there)
        share = estimate(found & there, there)
        if miou is None or present is None or share is None:
            return None
        return TextToMask(
            heads=heads,
            of=of,
            pictures=len(np.unique(self.owners[rows])),
            present=int(there.sum()),
            absent=int(gone.sum()),
            miou=miou,
            miou_present=present,
            found=share,
            false=estimate(found & gone, gone),
        )

    def curve(self) -> Iterator[CurvePoint]:
        """What thresholds would give that part all labels evenly, the lowest first."""
        count, absent = int(self.present.sum()), int((~self.present).sum())
        if not count or not absent:
            return
        for threshold in np.unique(np.quantile(self.presence, np.linspace(0, 1, _POINTS))):
            found = self.found(float(threshold))
            right, wrong = found & self.present, int((found & ~self.present).sum())
            worth = float(self.ious[right].sum())
            yield CurvePoint(
                threshold=float(threshold),
                found=int(right.sum()) / count,
                false=wrong / absent,
                miou=worth / (count + wrong),
                miou_present=worth / count,
            )


def ask_model(
    model: SamClip, image: ImageEmbedding, asked: AskedPicture
) -> Iterator[tuple[Heads, Sequence[np.ndarray], np.ndarray]]:
    """Asks for all labels with one head and with both: heads, masks, presence [K].

    Every label gets a mask, whatever its presence, so that one answer serves all thresholds: a
    label's mask depends on neither the threshold nor the other labels.
    """
    for heads, refine in REFINED.items():
        answer = model.segment_text(image, asked.labels, threshold=0.0, refine=refine)
        yield heads, answer.masks, answer.presence


def text_to_mask_rows(
    table: AnswerTable,
    bootstrap: Bootstrap,
    *,
    heads: Heads,
    threshold: float,
    sets: Sequence[str],
) -> Iterator[TextToMask]:
    """A row over all pictures, then one of each set; `sets` has the set of each of N pictures."""
    names = np.array(sets)
    for of in (ALL, *sorted({names[owner] for owner in table.owners})):
        chosen = np.ones(len(names), bool) if of == ALL else names == of
        row = table.row(bootstrap, heads=heads, threshold=threshold, of=str(of), chosen=chosen)
        if row is not None:
            yield row
