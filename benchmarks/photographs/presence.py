"""Whether presence tells pictures that show a name from pictures that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.photographs.bootstrap import Bootstrap, area_under_curve
from benchmarks.photographs.record import PresenceAuc, Taught
from benchmarks.photographs.taught import kinds_of, names_of
from samclip_sdk import ImageEmbedding, SamClip


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
