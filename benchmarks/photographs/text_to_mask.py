"""From texts to masks: what each label got, and what that makes at one threshold or at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.photographs.bootstrap import Bootstrap, ratio
from benchmarks.photographs.record import ALL, CurvePoint, Estimate, Heads, TextToMask
from benchmarks.quality.scores import iou
from samclip_sdk import ImageEmbedding, SamClip
from training.asked_pictures import AskedPicture

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
