"""One mask for each label, merged from the whole image and its tiles.

In each view a label's mask has connected parts. They are merged as objects are, and their union is
the label's mask. Labels meet only in the class map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.class_map import map_of_masks
from samclip_sdk.engine.exclusive import exclusive_labels
from samclip_sdk.engine.label_search import FoundLabels
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import TextQuery
from samclip_sdk.engine.text_to_mask import Drafts, draft_masks, segment_text
from samclip_sdk.engine.views import open_views
from samclip_sdk.errors import PromptError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.packed_masks import PackedMask, PackedMasks, union
from samclip_sdk.image.tiles import TileMask, Window, merge_tile_masks
from samclip_sdk.image.upscale import upscale_above
from samclip_sdk.results.text_masks import AskedLabels, TextMasks

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TileLabel:
    """A label that one view shows.

    Attributes:
        view: the view.
        presence: the presence in the view, 0..1, converted to the whole image's scale.
        score: the score of the mask in the view.
        points: float32 [n,2], in pixels of the whole image.
        parts: the parts of the mask, in the whole image.
    """

    view: Window
    presence: float
    score: float
    points: Array
    parts: Sequence[PackedMask]


def labels_in_view(
    drafts: Drafts,
    *,
    found: FoundLabels,
    presence: Array,
    frame: Frame,
    view: Window,
    mask_threshold: float,
) -> dict[int, TileLabel]:
    """Cuts the masks of the labels that a view shows into parts.

    Args:
        drafts: the masks of those labels.
        found: where the labels are.
        presence: [K], of all labels asked, converted to the whole image's scale.
        frame: the view's frame.
        view: where the view lies in the image.
        mask_threshold: the logit that a pixel must exceed.

    Returns:
        A `TileLabel` for each label in the view, by its index among all that were asked.
    """
    corner = np.array([view.columns.start, view.rows.start], dtype=np.float32)
    return {
        index: TileLabel(
            view=view,
            presence=float(presence[index]),
            score=float(drafts.scores[row]),
            points=drafts.points[row] + corner,
            parts=_parts(
                drafts.low_res[row], frame=frame, view=view, mask_threshold=mask_threshold
            ),
        )
        for row, index in enumerate(found.present.tolist())
    }


def _parts(
    low_res: Array, *, frame: Frame, view: Window, mask_threshold: float
) -> list[PackedMask]:
    """The connected parts of a mask (8-connectivity), from a view's logits [s,s]."""
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


def compose_tiled(
    seen: Sequence[Sequence[TileLabel]],
    *,
    presence: Array,
    score_maps: Array,
    labels: Sequence[str],
    size: tuple[int, int],
) -> TextMasks:
    """Merges the labels of all views; the label with the highest presence gets a shared pixel.

    Args:
        seen: for each of the K labels, its `TileLabel` in each view that shows it.
        presence: [K], the highest presence of each label in any view.
        score_maps: [K,h,h], the score maps of the whole image.
        labels: all K labels that were asked.
        size: height and width of the image.
    """
    present = [index for index, views in enumerate(seen) if views]
    masks, claims, scores, points = [], [], [], []
    for index in present:
        views = seen[index]
        owners = [each for each in views for _ in each.parts]
        tile_masks = [
            TileMask(part, each.presence, each.view) for each in views for part in each.parts
        ]
        merged = merge_tile_masks(tile_masks, size=size)
        masks.append(union([*merged.values()]))
        claims += [(owners[row].presence, index, mask) for row, mask in merged.items()]
        scores.append(_mean_score(merged, owners=owners))
        points.append(np.concatenate([each.points for each in views]))
    claims.sort(key=lambda claim: (claim[0], -claim[1]))
    drawn = [(mask, index) for _, index, mask in claims]
    return TextMasks(
        labels=[labels[index] for index in present],
        presence=presence[present],
        scores=np.array(scores, dtype=np.float32),
        masks=PackedMasks(size, tuple(masks)),
        points=points,
        label_index=np.array(present, dtype=np.int32),
        asked=AskedLabels(labels, presence, score_maps),
        draw_class_map=partial(map_of_masks, drawn, size=size),
    )


def _mean_score(merged: Mapping[int, PackedMask], *, owners: Sequence[TileLabel]) -> float:
    """The mean of the views' scores of a mask, each weighted by the area of its part."""
    areas = [each.area for each in merged.values()]
    if not areas:
        return 0.0
    return float(np.average([owners[index].score for index in merged], weights=areas))


def segment_tiled_text(one: Pass, query: TextQuery) -> TextMasks:
    """Finds labels and their masks, in the whole image and its tiles, if any.

    Raises:
        PromptError: soft masks are asked for with tiles.
    """
    found = segment_text(one, query) if query.tiling is None else _segment_views(one, query)
    return exclusive_labels(found) if query.exclusive else found


def _segment_views(one: Pass, query: TextQuery) -> TextMasks:
    if query.return_soft_masks:
        raise PromptError("return_soft_masks is not supported with tiles: leave one of the two out")
    options, text = one.options(query), one.embed_labels(query.labels)
    views = open_views(one, query.tiling)
    seen: list[list[TileLabel]] = [[] for _ in query.labels]
    presence, score_maps = list[Array](), list[Array]()
    for view, part in views.passes():
        found, drafts = draft_masks(part, text, views.options_in(view, options))
        presence.append(views.presence_in(view, found.presence))
        score_maps = score_maps or [found.score_maps]  # of the whole image, the first view
        with one.step("postprocess"):
            parts = labels_in_view(
                drafts,
                found=found,
                presence=presence[-1],
                frame=part.frame,
                view=view,
                mask_threshold=options.mask_threshold,
            )
        for index, each in parts.items():
            seen[index].append(each)
    with one.step("postprocess"):
        result = compose_tiled(
            seen,
            presence=np.max(presence, axis=0),
            score_maps=score_maps[0],
            labels=query.labels,
            size=views.size,
        )
    return views.whole.signed(result, labels=query.labels)
