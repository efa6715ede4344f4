"""D_CLIP and D_SAM from photographs: batch i depends on the seed and i alone."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from samclip_sdk.picture.masks import mask_to_box
from training.batches import PATCH_PX, Batch, stack_images
from training.composed.prompts import prompt_objects, sample_regions
from training.data_config import PhotographPictures, PhotographScenes
from training.errors import TrainingError
from training.real.photograph import Photograph
from training.real.photograph_draws import Drawn
from training.real.photograph_masks import cell_coverage
from training.real.photograph_pasting import cut_out, paste
from training.real.photograph_views import View
from training.real.photographs import Photographs
from training.real.records import BrokenRecord, count_tensor

MIN_CELLS = 30
"""Cells of a quarter of the resolution that a mask must fill to be asked for."""

_CELL_PX = 4
_MIN_PX = MIN_CELLS * _CELL_PX**2
_MARGIN = 1.25  # by which a mask is large enough for certain, however it is resized
_PICTURES_STREAM, _SCENES_STREAM = 21, 22  # apart from others of a seed


class PhotographPictureBatches(Dataset[Batch]):
    """D_CLIP: `images` uint8 [B,3,S,S]; `token_mask` float32 [B,g,g]; `broken` int64.

    Every picture serves, labelled or not. `broken` counts the records that were found broken, in
    the order of `records.KINDS`; another picture is in the place of each.

    Args:
        photographs: of which the batches are.
        config: their resolutions and sizes.
        seed: of everything random.
        augment: draw views and change colours; else pictures are whole, as the SDK sees them.

    Raises:
        TrainingError: a resolution cannot be used.
    """

    def __init__(
        self,
        photographs: Photographs,
        config: PhotographPictures,
        *,
        seed: int,
        augment: bool = True,
    ) -> None:
        for resolution in config.resolutions:
            check_resolution(resolution)
        self.photographs = photographs
        self.config = config
        self.augment = augment
        every = np.arange(len(photographs))
        concepts = [photographs.concepts(picture) for picture in range(len(every))]
        self.drawn = Drawn(photographs, every, concepts, seed=seed, stream=_PICTURES_STREAM)

    def __getitem__(self, index: int) -> Batch:
        resolution = int(self.drawn.rng(index).choice(self.config.resolutions))
        broken: Counter[str] = Counter()

        def read(picture: int, rng: np.random.Generator) -> tuple[np.ndarray, View]:
            one = self.photographs[picture]
            view = one.draw_view(rng, resolution=resolution, augment=self.augment)
            return one.recoloured(view, rng) if self.augment else one.image(view), view

        rows = [
            self.drawn.read(index, row, read, broken) for row in range(self.config.size(resolution))
        ]
        return {
            "images": stack_images([image for image, _ in rows]),
            "token_mask": torch.from_numpy(np.stack([view.token_mask() for _, view in rows])),
            "broken": count_tensor(broken),
        }


class _Prompted(NamedTuple):
    """What one picture brings to a batch of scenes, by the batch's keys."""

    image: np.ndarray
    token_mask: np.ndarray
    point_coords: np.ndarray
    point_labels: np.ndarray
    targets: np.ndarray
    regions: np.ndarray


class PhotographSceneBatches(Dataset[Batch]):
    """D_SAM: photographs with masks, K simulated prompts each and, for the CLIP head, regions.

    `images` uint8 [B,3,S,S]; `token_mask` float32 [B,g,g]; `point_coords` float32 [B*K,P,2];
    `point_labels` int32 [B*K,P]; `targets` float16 [B*K,S/4,S/4], the share of each cell that the
    mask covers; `regions` float32 [B*R,4], XYXY; `broken` int64, as of the pictures. Masks of a
    picture are drawn so that each of its concepts is as likely as another, and drawn twice only if
    there are fewer than K. No prompt asks for a crowd, for a mask of all of a kind, or for one
    that fills fewer than `MIN_CELLS` cells.

    Args:
        photographs: of which the batches are.
        config: of the batches.
        seed: of everything random.
        augment: draw views, change colours and paste; else pictures are whole.

    Raises:
        TrainingError: the resolution cannot be used, or no picture has such a mask.
    """

    def __init__(
        self, photographs: Photographs, config: PhotographScenes, *, seed: int, augment: bool = True
    ) -> None:
        check_resolution(config.resolution)
        self.photographs = photographs
        self.config = config
        self.augment = augment
        asked = [self._asked(photographs[picture]) for picture in range(len(photographs))]
        pictures = np.flatnonzero([len(numbers) for numbers in asked])
        if not len(pictures):
            raise TrainingError(
                f"no photograph of the split {photographs.split} below {photographs.settings.root} "
                f"has a mask that a prompt could ask for and that fills {MIN_CELLS} cells of 4 px"
            )
        concepts = [photographs[picture].concepts(asked[picture]) for picture in pictures.tolist()]
        self.drawn = Drawn(photographs, pictures, concepts, seed=seed, stream=_SCENES_STREAM)

    def __getitem__(self, index: int) -> Batch:
        broken: Counter[str] = Counter()

        def read(picture: int, rng: np.random.Generator) -> _Prompted:
            return self._prompted(self.photographs[picture], rng, broken)

        rows = [self.drawn.read(index, row, read, broken) for row in range(self.config.batch)]
        joined = ("point_coords", "point_labels", "targets", "regions")
        return {
            "images": stack_images([row.image for row in rows]),
            "token_mask": torch.from_numpy(np.stack([row.token_mask for row in rows])),
            **{
                key: torch.from_numpy(np.concatenate([getattr(row, key) for row in rows]))
                for key in joined
            },
            "broken": count_tensor(broken),
        }

    def _asked(self, one: Photograph) -> np.ndarray:
        return one.prompted(least_px=_MARGIN * _MIN_PX, resolution=self.config.resolution)

    def _prompted(
        self, one: Photograph, rng: np.random.Generator, broken: Counter[str]
    ) -> _Prompted:
        size = self.config.resolution
        view = one.draw_view(rng, resolution=size, augment=self.augment)
        masks = self._masks(one, view, rng, broken)
        if not masks:  # a crop without any
            view = one.draw_view(rng, resolution=size, augment=False)
            masks = self._masks(one, view, rng, broken)
        if not masks:
            raise BrokenRecord("annotations", "no mask can be used")
        image = one.recoloured(view, rng) if self.augment else one.image(view)
        if self.augment and rng.random() < self.config.paste:
            masks = self._paste(image, masks, view, rng)
        more = rng.integers(len(masks), size=max(0, self.config.prompts - len(masks)))
        masks = [*masks[: self.config.prompts], *(masks[number] for number in more)]
        boxes = np.stack([mask_to_box(mask) for mask in masks])
        coords, labels = prompt_objects(masks, boxes, rng, size_px=size)
        # A box's noise may lead into the padding, where no prompt of a user can be.
        limits = view.frame.resized_width_px, view.frame.resized_height_px
        targets = np.stack([cell_coverage(mask, cell_px=_CELL_PX) for mask in masks])
        return _Prompted(
            image=image,
            token_mask=view.token_mask(),
            point_coords=coords.clip(max=np.array(limits, np.float32)),
            point_labels=labels,
            targets=targets.astype(np.float16),
            regions=sample_regions(
                boxes,
                rng,
                width_px=limits[0],
                height_px=limits[1],
                random_regions=self.config.random_regions,
            ),
        )

    def _masks(
        self, one: Photograph, view: View, rng: np.random.Generator, broken: Counter[str]
    ) -> list[np.ndarray]:
        """Up to K masks bool [S,S] of a view; only these are decoded."""
        numbers = self._asked(one)
        _, which, counts = np.unique(one.concepts(numbers), return_inverse=True, return_counts=True)
        keys = rng.random(len(numbers)) ** counts[which]  # each concept as likely to be the first
        masks: list[np.ndarray] = []
        for number in numbers[np.argsort(-keys)]:
            annotation = one.found.table[number]
            if view.visible_px(annotation.box) < _MIN_PX:
                continue
            try:
                mask = one.mask(annotation, view)
            except BrokenRecord as error:
                broken[error.kind] += 1
                continue
            if np.count_nonzero(mask) >= _MIN_PX:
                masks.append(mask)
            if len(masks) == self.config.prompts:
                break
        return masks

    def _paste(
        self, image: np.ndarray, masks: list[np.ndarray], view: View, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Pastes one to three things of other pictures, in place; returns the masks of all."""
        for _ in range(int(rng.integers(1, 4))):
            donor = self.photographs[self.drawn.picture(rng)]
            numbers = self._asked(donor)
            annotation = donor.found.table[numbers[int(rng.integers(len(numbers)))]]
            try:
                cutout = cut_out(donor, annotation, resolution=self.config.resolution // 2)
            except BrokenRecord:  # It is counted where it is asked for.
                continue
            if cutout is not None:
                masks = paste(image, masks, cutout, rng, frame=view.frame, least_px=_MIN_PX)
        return masks


def check_resolution(resolution: int) -> None:
    """Refuses a resolution that patches do not fill.

    Raises:
        TrainingError: it is one.
    """
    if resolution % PATCH_PX or resolution < PATCH_PX:
        raise TrainingError(f"the resolution {resolution} must divide by {PATCH_PX}")
