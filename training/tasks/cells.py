"""Teaches the CLIP teacher of photographs what each cell shows, by names, masks and boxes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from training.tasks.name_losses import (
    NamedCells,
    NamedPictures,
    PresentNames,
    SeenSomewhere,
)
from training.tasks.tasks import Task
from training.teachers.classifier_clip import ClassifierClip

_COVERED = 0.5  # share of a cell from which a mask's name is the cell's
_SOMEWHERE_WEIGHT = 0.5


class CellTask(Task):
    """The head of a `ClassifierClip`, on photographs with names; texts stay as they are.

    A picture is to be nearest to its names, of all names, and near what the classifier says of it,
    so that no class is forgotten which no photograph shows.

    A cell that a mask covers by half is to be nearest to the mask's name, of all names. What a
    picture shows without a mask, for its label or its box says so, is to be nearest somewhere. And
    each name is told from nothing at all: yes in the cells of its masks, no where the set promises
    that it is absent, and in the other cells of pictures in which all of it is labelled.

    Args:
        clip: with what its classifier knows; of its head, the projection and the cells are trained.
        dataset: of `LabelledCells`.
        names: float32 [N,E], unit vectors of the names that the batches number, and after them of
            others that a cell is to be told from.
        classes: int64 [1000], which of them each class of the classifier has.
        validation: likewise, never trained on.
    """

    losses = ("cells",)
    metrics = ("cell_top1", "top1")
    names: Tensor
    classes: Tensor

    def __init__(
        self,
        clip: ClassifierClip,
        dataset: Dataset[Any],
        *,
        names: Tensor,
        classes: Tensor,
        validation: Dataset[Any] | None,
    ) -> None:
        presence = PresentNames()
        parts = {"cells": clip.head.cells, "project": clip.head.project, "presence": presence}
        super().__init__(dataset, parts, validation=validation)
        self.clip = clip
        self.register_buffer("names", names, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        self.named_pictures = NamedPictures()
        self.named_cells = NamedCells()
        self.seen_somewhere = SeenSomewhere()
        self.presence = presence

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """The sum of the five losses.

        Args:
            batch: of `LabelledCells`.
            loss: `cells`.
            step: of no influence.
        """
        tokens = self.clip.see(batch["images"])
        pictures, cosines = self._cosines(tokens, batch)
        scale = self.clip.logit_scale.exp()
        targets = cell_names(batch)
        known = batch["absent"].shape[1]
        named = self.named_pictures(scale * pictures, batch["present"], self.names)
        told = self.clip.classes(tokens, batch["token_mask"])
        classes = F.cross_entropy(scale * pictures[:, self.classes], told)
        nearest = self.named_cells(scale * cosines, targets, self.names)
        somewhere = self.seen_somewhere(
            scale * cosines[..., :known], possible_places(batch), batch["present"]
        )
        presence = self.presence(cosines[..., :known], targets, promised_absences(batch))
        total: Tensor = named + classes + nearest + _SOMEWHERE_WEIGHT * somewhere + presence
        return total

    def count_images(self, batch: dict[str, Tensor]) -> int:
        """How many pictures a batch holds."""
        return len(batch["images"])

    def count_broken(self, batch: dict[str, Tensor]) -> int:
        """How many records were broken."""
        return int(batch["broken"].sum())

    def measure(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whether each cell and each picture with a name is nearest to it, of all taught names."""
        known = batch["absent"].shape[1]
        pictures, cosines = self._cosines(self.clip.see(batch["images"]), batch)
        targets, present = cell_names(batch), batch["present"]
        named, labelled = targets >= 0, present.any(dim=1)
        nearest = cosines[..., :known].argmax(dim=-1)
        likeliest = pictures[labelled, :known].argmax(dim=1, keepdim=True)
        return {
            "cell_top1": (nearest[named] == targets[named]).float(),
            "top1": present[labelled].gather(1, likeliest).squeeze(1).float(),
        }

    def _cosines(self, tokens: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each picture, and of each cell, with each name: [B,N] and [B,n,N]."""
        patches, pooled = self.clip.head(tokens, batch["token_mask"])[:2]
        return pooled @ self.names.T, patches @ self.names.T


def cell_names(batch: dict[str, Tensor]) -> Tensor:
    """The name of each cell, whose masks cover most of it and half at least: int64 [B,n], or -1."""
    coverage = (batch["coverage"] * batch["masked"][:, :, None, None]).flatten(2)
    most, place = coverage.max(dim=1)
    return torch.where(most >= _COVERED, batch["names"].gather(1, place), -1)


def possible_places(batch: dict[str, Tensor]) -> Tensor:
    """Where each name that is known without a mask may be: bool [B,n,V]; nowhere for all others.

    In its boxes if there are any, else anywhere in the picture.
    """
    unpadded = batch["token_mask"].flatten(1) > 0
    places = batch["present"].unsqueeze(1) & unpadded.unsqueeze(2)
    inside = (batch["coverage"].flatten(2) > 0) & ~batch["masked"].unsqueeze(2)
    return _put(places, batch["names"], inside.transpose(1, 2))


def promised_absences(batch: dict[str, Tensor]) -> Tensor:
    """Which cells do not show a name, by what their set promises: bool [B,n,V]."""
    judged = (batch["token_mask"].flatten(1) > 0) & (batch["unnamed"].flatten(1) < _COVERED)
    absent = batch["absent"].unsqueeze(1) & judged.unsqueeze(2)
    outside = (batch["coverage"].flatten(2) == 0) & batch["exhaustive"].unsqueeze(2)
    outside = outside.transpose(1, 2) & judged.unsqueeze(2)
    return _put(absent, batch["names"], outside)


def _put(every: Tensor, names: Tensor, values: Tensor) -> Tensor:
    """Replaces the columns of names [B,N] of [B,n,V] by values [B,n,N]; -1 is no name."""
    padded = torch.cat([every, every[..., :1]], dim=-1)  # a column for what is no name
    columns = torch.where(names >= 0, names, every.shape[-1])
    columns = columns.unsqueeze(1).expand_as(values)
    return padded.scatter(2, columns, values)[..., :-1]
