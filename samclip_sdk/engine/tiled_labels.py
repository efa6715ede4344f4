"""One mask a label, from what the whole picture and its tiles show of it.

In each view a label's mask falls into connected parts. They are merged as objects are, and what is
left of them is the label's mask. Labels meet only in the class map.

Every tile is one more chance to see what is not there. So in each of n tiles a label must be surer
of itself than in the whole picture: by the root of n, in odds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.text_to_mask import BACKGROUND, Drafts, FoundLabels
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.packed_masks import PackedMask, PackedMasks, union
from samclip_sdk.picture.tiles import Sight, Sighted, Window, merge_sights
from samclip_sdk.picture.upscale import upscale_above
from samclip_sdk.results.text_masks import TextMasks

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeenLabel:
    """What one view shows of a label that is in it.

    Attributes:
        view: where it was seen.
        presence: there, 0..1, in terms of the whole image.
        score: of its mask there.
        points: float32 [n,2], in pixels of the whole image.
        parts: of its mask, in the whole image.
    """

    view: Window
    presence: float
    score: float
    points: Array
    parts: Sequence[PackedMask]


def threshold_in_tile(threshold: float, *, tiles: int) -> float:
    """The presence, 0..1, that a label must have in one of n tiles to be in the picture.

    Args:
        threshold: 0..1, of the whole picture.
        tiles: n.
    """
    factor = math.sqrt(tiles)
    return factor * threshold / (factor * threshold + (1 - threshold))


def presence_in_tile(presence: Array, *, tiles: int) -> Array:
    """What the presence of labels in one of n tiles, [K], is worth in the whole picture.

    The other way round than `threshold_in_tile`: float32 [K], to be compared with the threshold of
    the whole picture.
    """
    worth = presence / (presence + math.sqrt(tiles) * (1 - presence))
    return np.asarray(worth, dtype=np.float32)


def see_labels(
    drafts: Drafts,
    *,
    found: FoundLabels,
    presence: Array,
    frame: Frame,
    view: Window,
    mask_threshold: float,
) -> dict[int, SeenLabel]:
    """Cuts the masks of the labels that a view shows into parts.

    Args:
        drafts: of those labels.
        found: where they are.
        presence: [K], of the labels asked, in terms of the whole image.
        frame: of the view.
        view: where it lies in the image.
        mask_threshold: the logit that a pixel must exceed.

    Returns:
        What is seen of each, by its place among the labels asked.
    """
    corner = np.array([view.columns.start, view.rows.start], dtype=np.float32)
    return {
        index: SeenLabel(
            view=view,
            presence=float(presence[index]),
            score=float(drafts.scores[place]),
            points=drafts.points[place] + corner,
            parts=_parts(
                drafts.low_res[place], frame=frame, view=view, mask_threshold=mask_threshold
            ),
        )
        for place, index in enumerate(found.present.tolist())
    }


def _parts(
    low_res: Array, *, frame: Frame, view: Window, mask_threshold: float
) -> list[PackedMask]:
    """The connected parts of a mask, neighbours by a corner too, from logits [s,s] of a view."""
    (rows, columns), logits = upscale_above(low_res, frame=frame, threshold=mask_threshold)
    if not logits.size:
        return []
    inside = (logits > np.float32(mask_threshold)).view(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    found = []
    for number, (x, y, width, height, _) in enumerate(stats[1:].tolist(), 1):
        part = PackedMask.pack(parts[y : y + height, x : x + width] == number, top=y, left=x)
        found.append(
            part.moved(top=view.rows.start + rows.start, left=view.columns.start + columns.start)
        )
    return found


def compose_seen(
    seen: Sequence[Sequence[SeenLabel]],
    *,
    presence: Array,
    score_maps: Array,
    labels: Sequence[str],
    size: tuple[int, int],
) -> TextMasks:
    """Merges what views show of labels; a pixel that several claim is the most present one's.

    Args:
        seen: for each of the K labels what each view shows of it that shows anything.
        presence: [K], the highest of each label in any view.
        score_maps: [K,h,h], of the whole image.
        labels: all K that were asked.
        size: height and width of the image.
    """
    present = [index for index, views in enumerate(seen) if views]
    masks, claims = [], []
    scores = np.zeros(len(labels), dtype=np.float32)
    points = [np.zeros((0, 2), dtype=np.float32)] * len(labels)
    for index in present:
        views = seen[index]
        owners = [each for each in views for _ in each.parts]
        sights = [Sight(part, each.presence, each.view) for each in views for part in each.parts]
        merged = merge_sights(sights, size=size)
        masks.append(union([each.mask for each in merged]))
        claims += [(each.score, index, each.mask) for each in merged]
        scores[index] = _mean_score(merged, owners=owners)
        points[index] = np.concatenate([each.points for each in views])
    class_map = np.full(size, BACKGROUND, dtype=np.int16)
    for _, index, mask in sorted(claims, key=lambda claim: (claim[0], -claim[1])):
        class_map[mask.rows, mask.columns][mask.part()] = index
    return TextMasks(
        labels=labels,
        presence=presence,
        scores=scores,
        score_maps=score_maps,
        points=points,
        present_index=np.array(present, dtype=np.int32),
        present_masks=PackedMasks(size, tuple(masks)),
        class_map=class_map,
    )


def _mean_score(merged: Sequence[Sighted], *, owners: Sequence[SeenLabel]) -> float:
    """The score of a mask that several views show: their mean, each by the area that it shows."""
    areas = [each.mask.area for each in merged]
    if not areas:
        return 0.0
    return float(np.average([owners[each.place].score for each in merged], weights=areas))
