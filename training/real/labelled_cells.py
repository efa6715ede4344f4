"""Photographs with what they show and where, by cells: what teaches a dense CLIP teacher."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.batches import PATCH_PX, Batch, stack_images
from training.data_config import LabelledPhotographs
from training.errors import TrainingError
from training.real.photograph import Photograph
from training.real.photograph_batches import check_resolution
from training.real.photograph_draws import Drawn
from training.real.photograph_masks import cell_coverage
from training.real.photograph_views import View
from training.real.photographs import Photographs
from training.real.records import BrokenRecord, count_tensor

_STREAM = 23  # keeps these draws apart from others of a seed


class _Labelled(NamedTuple):
    """What one picture brings: names [n], their masks bool [n,S,S] as `_Located` has them."""

    image: np.ndarray
    token_mask: np.ndarray
    names: np.ndarray
    coverage: np.ndarray
    masked: np.ndarray
    exhaustive: np.ndarray
    unnamed: np.ndarray
    present: np.ndarray
    absent: np.ndarray
    complete: bool


class LabelledCells(Dataset[Batch]):
    """Batches of photographs that have a name, with the cells that each of their names covers.

    With V names in `names`, g = S / 16 cells a side, and N the most names that a picture of the
    batch has somewhere (1 at least):

    * `images` uint8 [B,3,S,S] and `token_mask` float32 [B,g,g];
    * `names` int64 [B,N], indices of what is somewhere in the picture; -1 fills up;
    * `coverage` float32 [B,N,h,h], 0 to 1, the share of each square of `cell_px` pixels, h = S /
      cell_px to a side, that the name's masks cover, or where there are none, its boxes;
    * `masked` bool [B,N], whether that is of masks. Of boxes, the thing is somewhere inside;
    * `exhaustive` bool [B,N], whether the set promises that the name is in no other cell;
    * `unnamed` float32 [B,g,g], the share that masks without a name to teach cover: leave such
      cells out where a name is taught as absent. A held-out thing is no background;
    * `present` bool [B,V], all that the picture shows: `names`, and labels of the whole picture;
    * `absent` bool [B,V], what it does not show, by its set's promise. All else is unknown;
    * `complete` bool [B], whether the set labels all that its own categories name;
    * `broken` int64, the records found broken, in the order of `records.KINDS`.

    Crowds and masks of all of a kind count like others. A thing that the view leaves out is not
    present; that a label of the whole picture still holds for the view is taken for granted.

    Args:
        photographs: of which the batches are.
        config: of the batches.
        seed: of everything random.
        augment: draw views and change colours; else pictures are whole.
        cell_px: side of the squares of `coverage`.
        masked: only pictures with a mask that has a name.

    Attributes:
        names: what indices stand for; without held-out nouns.

    Raises:
        TrainingError: the resolution cannot be used, or no picture has a name, or such a mask.
    """

    def __init__(
        self,
        photographs: Photographs,
        config: LabelledPhotographs,
        *,
        seed: int,
        augment: bool = True,
        cell_px: int = PATCH_PX,
        masked: bool = False,
    ) -> None:
        check_resolution(config.resolution)
        self.photographs = photographs
        self.config = config
        self.augment = augment
        self.cell_px = cell_px
        self.names = photographs.names
        every = range(len(photographs))
        if masked:
            concepts = [photographs[picture].masked_concepts() for picture in every]
        else:
            concepts = [photographs.concepts(picture) for picture in every]
        named = np.flatnonzero([(each >= 0).any() for each in concepts])
        if not len(named):
            raise TrainingError(
                f"no photograph of the split {photographs.split} below {photographs.settings.root} "
                f"has a {'mask with a ' if masked else ''}name"
            )
        kept = [concepts[picture] for picture in named]
        self.drawn = Drawn(photographs, named, kept, seed=seed, stream=_STREAM)

    def __getitem__(self, index: int) -> Batch:
        broken: Counter[str] = Counter()

        def read(picture: int, rng: np.random.Generator) -> _Labelled:
            return self._labelled(picture, rng, broken)

        rows = [self.drawn.read(index, row, read, broken) for row in range(self.config.batch)]
        most = max(1, *(len(row.names) for row in rows))
        return {
            "images": stack_images([row.image for row in rows]),
            "token_mask": torch.from_numpy(np.stack([row.token_mask for row in rows])),
            "names": pad_rows([row.names for row in rows], most, fill=-1),
            "coverage": pad_rows([row.coverage for row in rows], most, fill=0),
            "masked": pad_rows([row.masked for row in rows], most, fill=0),
            "exhaustive": pad_rows([row.exhaustive for row in rows], most, fill=0),
            "unnamed": torch.from_numpy(np.stack([row.unnamed for row in rows])),
            "present": torch.from_numpy(np.stack([row.present for row in rows])),
            "absent": torch.from_numpy(np.stack([row.absent for row in rows])),
            "complete": torch.tensor([row.complete for row in rows]),
            "broken": count_tensor(broken),
        }

    def _labelled(self, picture: int, rng: np.random.Generator, broken: Counter[str]) -> _Labelled:
        one = self.photographs[picture]
        view = one.draw_view(rng, resolution=self.config.resolution, augment=self.augment)
        image = one.recoloured(view, rng) if self.augment else one.image(view)
        located = _locate(one, view, broken)
        unnamed = located.pop(-1, None)
        names = sorted(name for name, each in located.items() if each.area.any())
        size = self.config.resolution
        nothing = np.zeros((size, size), bool)
        areas = [*(located[name].area for name in names), nothing]
        coverage = np.stack([cell_coverage(each, cell_px=self.cell_px) for each in areas])
        present = np.zeros(len(self.names), bool)
        present[[*names, *self.photographs.labels(picture)]] = True
        absent = np.zeros(len(self.names), bool)
        absent[self.photographs.absent(picture)] = True
        return _Labelled(
            image=image,
            token_mask=view.token_mask(),
            names=np.array(names, np.int64),
            coverage=coverage[: len(names)],
            masked=np.array([located[name].masked for name in names], bool),
            exhaustive=np.array([located[name].exhaustive for name in names], bool),
            unnamed=cell_coverage(nothing if unnamed is None else unnamed.area, cell_px=PATCH_PX),
            present=present,
            absent=absent,
            complete=one.found.complete,
        )


class _Located:
    """Where a name is in a view: `area` bool [S,S], of masks unless a box was all that there is."""

    def __init__(self, size: int) -> None:
        self.area = np.zeros((size, size), bool)
        self.masked = True
        self.exhaustive = True


def _locate(one: Photograph, view: View, broken: Counter[str]) -> dict[int, _Located]:
    """Where each concept of a picture is in a view, by its number; a broken mask is passed over."""
    found: dict[int, _Located] = {}
    numbers = one.numbers
    for number, concept in zip(numbers, one.concepts(numbers).tolist(), strict=True):
        annotation = one.found.table[int(number)]
        if not view.visible_px(annotation.box):
            continue
        here = found.setdefault(concept, _Located(view.frame.resolution))
        here.exhaustive &= one.found.exhaustive(one.row, annotation.category)
        if annotation.segmentation is None:
            here.area |= view.boxed(annotation.box)
            here.masked = False
            continue
        try:
            here.area |= one.mask(annotation, view)
        except BrokenRecord as error:
            broken[error.kind] += 1
            here.exhaustive = False
    return found


def pad_rows(rows: list[np.ndarray], most: int, *, fill: int) -> Tensor:
    """Rows [n,...] of different lengths as one tensor [B,N,...]."""
    out = np.full((len(rows), most, *rows[0].shape[1:]), fill, rows[0].dtype)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(out)
