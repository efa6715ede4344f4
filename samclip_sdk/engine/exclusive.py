"""Labels that compete: no pixel and no object has two labels; the likelier label keeps it.

Without this, each label's answer depends on no other label, so that look-alikes are both found: a
"cat" in a dog's place. Here the answers compete afterwards, in the image.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.class_map import BACKGROUND, map_of_masks
from samclip_sdk.picture.packed_masks import PackedMask, PackedMasks
from samclip_sdk.picture.tiles import CONTAINED_SHARE, is_same
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.text_masks import TextMasks


@dataclass(frozen=True)
class Claim:
    """A mask that its label keeps.

    Attributes:
        place: its row in the answer.
        mask: what is left of it.
    """

    place: int
    mask: PackedMask


def settle(
    masks: Sequence[PackedMask],
    *,
    labels: Sequence[Hashable],
    likelihoods: NDArray[np.float32],
    size: tuple[int, int],
) -> list[Claim]:
    """Lets masks of different labels compete, the likeliest first.

    A mask is dropped if a better one of another label is the same, or if better ones of other
    labels cover nearly all of it. Of any other mask, the pixels of better ones are taken away.

    Args:
        masks: N masks of an image.
        labels: the label of each.
        likelihoods: float32 [N]; among equals, the first one is better.
        size: height and width of the image.

    Returns:
        The masks that are left, the likeliest first.
    """
    owner = np.full(size, BACKGROUND, dtype=np.int32)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    kept: list[Claim] = []
    for place in np.argsort(-likelihoods, kind="stable").tolist():
        mask, number = masks[place], numbers[labels[place]]
        seen = owner[mask.rows, mask.columns]
        taken = (seen != BACKGROUND) & (seen != number)
        own = mask.part()
        rivals = (masks[each.place] for each in kept if labels[each.place] != labels[place])
        covered = np.count_nonzero(own & taken) >= CONTAINED_SHARE * max(mask.area, 1)
        if covered or any(is_same(mask, rival) for rival in rivals):
            continue
        own &= ~taken
        owner[mask.rows, mask.columns][own] = number
        kept.append(
            Claim(place, PackedMask.pack(own, top=mask.rows.start, left=mask.columns.start))
        )
    return kept


def exclusive_labels(found: TextMasks) -> TextMasks:
    """Masks of labels that share no pixel; a label that loses its mask is absent."""
    kept = settle(
        found.masks.packed, labels=found.labels, likelihoods=found.presence, size=found.size
    )
    kept.sort(key=lambda each: each.place)
    rows = found[[each.place for each in kept]]
    masks = _packed(kept, found.size)
    claims = list(zip(masks.packed, rows.label_index.tolist(), strict=True))
    return replace(rows, masks=masks, draw_class_map=partial(map_of_masks, claims, size=found.size))


def exclusive_objects(found: Instances) -> Instances:
    """Objects of which those of different labels share no pixel."""
    kept = settle(
        found.masks.packed, labels=found.labels, likelihoods=found.scores, size=found.size
    )
    masks = _packed(kept, found.size)
    return replace(found[[each.place for each in kept]], masks=masks, boxes=masks.boxes)


def _packed(kept: Sequence[Claim], size: tuple[int, int]) -> PackedMasks:
    return PackedMasks(size, tuple(each.mask for each in kept))
