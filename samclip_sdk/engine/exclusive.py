"""Labels that compete: no pixel and no object has two labels; the likelier label keeps it.

Without this, each label's answer depends on no other label, so that look-alikes are both found: a
"cat" in a dog's place. Here the answers compete afterwards, in the image.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.class_map import map_of_masks
from samclip_sdk.image.packed_masks import PackedMask, PackedMasks
from samclip_sdk.image.suppression import SAME_IOU, Packed, suppress
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.text_masks import TextMasks


def settle(
    masks: Sequence[PackedMask], *, labels: Sequence[Hashable], likelihoods: NDArray[np.float32]
) -> dict[int, PackedMask]:
    """Lets masks of different labels compete, the likeliest first.

    A mask is dropped if a better one of another label is the same, or if better ones of other
    labels cover nearly all of it. Of any other mask, the pixels of better ones are taken away.

    Args:
        masks: N masks of an image.
        labels: the label of each.
        likelihoods: float32 [N]; among equals, the first one is better.

    Returns:
        What is left of the masks that are kept, by their indexes, the likeliest first.
    """
    competing = Packed(masks, labels=labels)
    order = np.argsort(-likelihoods, kind="stable").tolist()
    suppress(competing, order, same_iou=SAME_IOU)
    return competing.left


def exclusive_labels(found: TextMasks) -> TextMasks:
    """Masks of labels that share no pixel; a label that loses its mask is absent."""
    kept = settle(found.masks.packed, labels=found.labels, likelihoods=found.presence)
    rows = found[sorted(kept)]
    masks = PackedMasks(found.size, tuple(kept[index] for index in sorted(kept)))
    claims = list(zip(masks.packed, rows.label_index.tolist(), strict=True))
    return replace(rows, masks=masks, draw_class_map=partial(map_of_masks, claims, size=found.size))


def exclusive_objects(found: Instances) -> Instances:
    """Objects of which those of different labels share no pixel."""
    kept = settle(found.masks.packed, labels=found.labels, likelihoods=found.scores)
    masks = PackedMasks(found.size, tuple(kept.values()))
    return replace(found[list(kept)], masks=masks, boxes=masks.boxes)
