"""Batches of photographs with all their labels, for the joint training.

A view of a photograph teaches the names of things, their cells, and the masks of prompts and
labels. Batch i depends on the seed and on i only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.batches import CELL_PX, PATCH_PX, Batch, stack_images
from training.composed.prompts import prompt_in_frame
from training.data_config import JointPhotographs
from training.real.photograph_masks import cell_coverage
from training.real.photograph_views import View, draw_view, recolour, whole_view
from training.real.photographs import Photographs
from training.real.proposal_targets import proposal_targets, unlabelled_weight
from training.real.records import count_tensor, read_or_replace
from training.real.segments import NAMELESS, Segment, locate_segments, paste_segment

_MIN_PX = 30 * CELL_PX**2  # of a mask that is asked for: 30 pixels of a low-resolution mask
_STREAM = 25  # keeps these draws apart from others of a seed
_REPLACEMENTS = 1  # likewise, those of other images for broken ones
_Row = dict[str, np.ndarray]


class JointBatches(Dataset[Batch]):
    """Batches of photographs for `JointTask`.

    With V names, g = S / 16 cells a side, h = S / 4, and N the most names that an image of the
    batch has somewhere (1 at least):

    * `images` uint8 [B,3,S,S] and `token_mask` float32 [B,g,g];
    * `names` int64 [B,N], the names with a place in the image; -1 fills up;
    * `coverage` float32 [B,N,g,g], the share of each cell, 0 to 1, that the name's masks cover, or
      its boxes if it has no masks;
    * `masked` bool [B,N], false if the coverage is of boxes: the thing is somewhere inside;
    * `exhaustive` bool [B,N], whether the set promises that the name is in no other cell;
    * `unnamed` float32 [B,g,g], the share of each cell under masks without a name: there, no name
      is known to be absent;
    * `present` bool [B,V], the names of the image: `names`, and labels of the whole image;
    * `absent` bool [B,V], the names that the set promises are not in it. All others are unknown;
    * `owners` int64 [M], the image of each of M prompts, `point_coords` float32 [M,P,2],
      `point_labels` int32 [M,P] and `targets` float16 [M,h,h], the share that the mask covers;
    * `asked_owners` int64 [L], the image of each of L labels that are asked for, `asked` int64
      [L], their names, `asked_targets` float16 [L,h,h], the share that the name's masks cover, and
      `asked_shown` bool [L], false of a name that the image does not show, by its promise;
    * `boxes` float32 [T,4], the boxes of T things, XYXY in pixels of the input, `box_owners` int64
      [T], the image of each, `assigned` int64 [B,6,g,g], the thing that each anchor of the proposal
      head has, or -1, and `background` float32 [B,6,g,g], see `ProposalTargets`;
    * `broken` int64, the records found broken, in the order of `records.KINDS`.

    The resolution S is `resolution`, and `late_resolution` from the batch `late_from` on.

    Args:
        augment: draw views, change colours and paste; else images are whole.
        late_from: index of the first batch of the late resolution.

    Attributes:
        names: all names, which the indices above count.
    """

    def __init__(
        self,
        photographs: Photographs,
        config: JointPhotographs,
        *,
        seed: int,
        augment: bool = True,
        late_from: int = 0,
    ) -> None:
        self.photographs = photographs
        self.config = config
        self.augment = augment
        self.late_from = late_from
        self.names = photographs.names
        self.seed = seed
        self._bounds = np.cumsum(photographs.weights())
        self._donors = _named_things(photographs)

    def __getitem__(self, index: int) -> Batch:
        late = index >= self.late_from
        size = self.config.late_resolution if late else self.config.resolution
        broken: Counter[str] = Counter()
        rows = [self._row((index, row), size, broken) for row in range(self.config.batch)]
        return {**_stack(rows), "broken": count_tensor(broken)}

    def _row(self, index: tuple[int, int], size: int, broken: Counter[str]) -> _Row:
        """Reads the image of a batch's row; in place of a broken one, another."""
        rng = np.random.default_rng([self.seed, _STREAM, *index])
        _, found = read_or_replace(
            self._draw(rng),
            lambda image: self._see(image, rng, size, broken),
            among=range(len(self.photographs)),
            rng=np.random.default_rng([self.seed, _STREAM, *index, _REPLACEMENTS]),
            broken=broken,
        )
        return found

    def _draw(self, rng: np.random.Generator) -> int:
        """Draws an image by its weight."""
        index = np.searchsorted(self._bounds, rng.random() * self._bounds[-1], side="right")
        return min(int(index), len(self._bounds) - 1)

    def _see(self, image: int, rng: np.random.Generator, size: int, broken: Counter[str]) -> _Row:
        """Makes the part of one image in a batch, by the batch's keys."""
        one = self.photographs[image]
        if self.augment:
            view = draw_view(*one.size, rng, resolution=size)
        else:
            view = whole_view(*one.size, resolution=size)
        pixels = one.image(view)
        if self.augment:
            recolour(pixels, view, rng)
        segments = locate_segments(one, view, broken)
        absent = np.zeros(len(self.names), bool)
        absent[self.photographs.absent(image)] = True
        if self.augment and rng.random() < self.config.paste:
            self._paste(pixels, segments, view, rng, absent)
        own: dict[int, list[Segment]] = {}
        for each in sorted(segments, key=lambda each: each.concept):
            own.setdefault(each.concept, []).append(each)
        unnamed = _union(own.pop(NAMELESS, []), size)
        proposals = proposal_targets(segments, view.frame, unlabelled=unlabelled_weight(one))
        names = [*own]
        areas = {name: _union(found, size) for name, found in own.items()}
        present = np.zeros(len(self.names), bool)
        present[[*names, *self.photographs.labels(image)]] = True
        absent &= ~present
        coverage = [cell_coverage(areas[name], cell_px=PATCH_PX) for name in names]
        return {
            "images": pixels,
            "token_mask": view.token_mask(),
            "names": np.array(names, np.int64),
            "coverage": _stacked(coverage, size // PATCH_PX, np.float32),
            "masked": np.array([all(x.masked for x in own[name]) for name in names], bool),
            "exhaustive": np.array([all(x.exhaustive for x in own[name]) for name in names], bool),
            "unnamed": cell_coverage(unnamed, cell_px=PATCH_PX),
            "present": present,
            "absent": absent,
            **proposals._asdict(),
            **self._prompts(segments, view, rng),
            **self._labels(own, areas, absent, rng, size),
        }

    def _paste(
        self,
        image: np.ndarray,
        segments: list[Segment],
        view: View,
        rng: np.random.Generator,
        absent: np.ndarray,
    ) -> None:
        """Pastes one to three named things of other images, in place."""
        for _ in range(int(rng.integers(1, 4))):
            donor = self._draw(rng)
            numbers = self._donors.get(donor)
            if numbers is None:
                continue
            number = int(numbers[int(rng.integers(len(numbers)))])
            pasted = paste_segment(
                image,
                segments,
                self.photographs[donor],
                number,
                rng,
                frame=view.frame,
                min_px=_MIN_PX,
            )
            if pasted is not None:
                others = [each for each in segments if each.concept == pasted.concept]
                promised = absent[pasted.concept] or any(each.exhaustive for each in others)
                pasted.exhaustive = bool(promised)
                absent[pasted.concept] = False
                segments.append(pasted)

    def _prompts(
        self, segments: Sequence[Segment], view: View, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Prompts of some single things, of which each concept is as likely."""
        single = [x for x in segments if x.single and np.count_nonzero(x.area) >= _MIN_PX]
        counts = Counter(each.concept for each in single)
        keys = [rng.random() ** counts[each.concept] for each in single]
        things = np.argsort(keys)[::-1][: self.config.prompts]
        chosen = np.repeat(things, self.config.prompts_each).tolist()
        masks = [single[index].area for index in chosen]
        coords, labels = prompt_in_frame(masks, view.frame, rng)
        targets = [cell_coverage(mask, cell_px=CELL_PX) for mask in masks]
        return {
            "point_coords": coords,
            "point_labels": labels,
            "targets": _stacked(targets, view.frame.resolution // CELL_PX, np.float16),
        }

    def _labels(
        self,
        own: dict[int, list[Segment]],
        areas: dict[int, np.ndarray],
        absent: np.ndarray,
        rng: np.random.Generator,
        size: int,
    ) -> dict[str, np.ndarray]:
        """Names to ask for: some that the image shows with masks, and one that it does not.

        None that its masks are known to show a part of.
        """
        there = [
            name
            for name, found in own.items()
            if all(each.masked and not each.partial for each in found)
            and np.count_nonzero(areas[name]) >= _MIN_PX
        ]
        shown = rng.permutation(there)[: self.config.labels].astype(np.int64)
        gone = np.flatnonzero(absent)
        other = rng.choice(gone, size=min(1, len(gone))).astype(np.int64)
        targets = [cell_coverage(areas[name], cell_px=CELL_PX) for name in shown.tolist()]
        nothing = np.zeros((size // CELL_PX, size // CELL_PX), np.float32)
        return {
            "asked": np.concatenate([shown, other]),
            "asked_targets": _stacked(
                [*targets, *(nothing for _ in other)], size // CELL_PX, np.float16
            ),
            "asked_shown": np.arange(len(shown) + len(other)) < len(shown),
        }


def _named_things(photographs: Photographs) -> dict[int, np.ndarray]:
    """Returns the annotations of single things with a name, by image."""
    found = {}
    for image in range(len(photographs)):
        one = photographs[image]
        numbers = one.numbers[one.found.table.promptable[one.numbers]]
        named = numbers[one.concepts(numbers) >= 0]
        if len(named):
            found[image] = named
    return found


def _union(segments: Sequence[Segment], size: int) -> np.ndarray:
    """Returns the union of segments: bool [S,S]."""
    area = np.zeros((size, size), bool)
    for each in segments:
        area |= each.area
    return area


def _stacked(maps: Sequence[np.ndarray], side: int, dtype: type) -> np.ndarray:
    """Maps [side,side], of which there may be none, as one array."""
    return np.array(maps, dtype).reshape(-1, side, side)


def _stack(rows: Sequence[_Row]) -> Batch:
    """The rows of a batch together: by image, or one after the other with their owners."""
    maximum = max(1, *(len(row["names"]) for row in rows))
    batch = {
        "images": stack_images([row["images"] for row in rows]),
        "names": _pad_rows([row["names"] for row in rows], maximum, fill=-1),
        "owners": _owners([len(row["targets"]) for row in rows]),
        "asked_owners": _owners([len(row["asked"]) for row in rows]),
        "box_owners": _owners([len(row["boxes"]) for row in rows]),
        "assigned": _numbered(rows),
    }
    for key in ("coverage", "masked", "exhaustive"):
        batch[key] = _pad_rows([row[key] for row in rows], maximum, fill=0)
    for key in ("token_mask", "unnamed", "present", "absent", "background"):
        batch[key] = torch.from_numpy(np.stack([row[key] for row in rows]))
    prompts = ("point_coords", "point_labels", "targets", "asked", "asked_targets", "asked_shown")
    for key in (*prompts, "boxes"):
        batch[key] = torch.from_numpy(np.concatenate([row[key] for row in rows]))
    return batch


def _numbered(rows: Sequence[_Row]) -> Tensor:
    """The thing of each anchor, counted through the batch: int64 [B,6,g,g]."""
    before = np.cumsum([0, *(len(row["boxes"]) for row in rows)])[:-1]
    assigned = np.stack([row["assigned"] for row in rows])
    return torch.from_numpy(np.where(assigned < 0, -1, assigned + before[:, None, None, None]))


def _owners(counts: Sequence[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _pad_rows(rows: list[np.ndarray], maximum: int, *, fill: int) -> Tensor:
    """Stacks rows [n,...] of different lengths, filled up to `maximum`: [B,N,...]."""
    out = np.full((len(rows), maximum, *rows[0].shape[1:]), fill, rows[0].dtype)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(out)
