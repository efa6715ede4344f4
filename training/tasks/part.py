"""The joint training of one part of a finished model alone: all else stays as it is."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from training.tasks.joint import JointTask, cell_names, unmasked_names

Part = Literal["pictures", "heads", "prompts", "cells"]

MODULES: dict[Part, tuple[str, ...]] = {
    "pictures": ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder"),
    "heads": ("image_encoder", "clip_head"),
    "prompts": ("prompt_encoder", "mask_decoder"),
    "cells": ("clip_head.cells",),
}
"""The modules of each part, by their paths in the model."""

_KEPT = 10.0  # weight of the cells that there is nothing to teach


class PartTask(JointTask):
    """Teaches a part of a finished model all losses of the joint training, or some.

    Args:
        student: a merged model with a `ClassifierHead`.
        dataset: of `JointBatches`.
        modules: what learns, by paths in the model.
        names: float32 [N,E], as in `JointTask`; the student's own embeddings.
        others: of `JointTask`, likewise.
    """

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        modules: tuple[str, ...],
        names: Tensor,
        **others: Any,
    ) -> None:
        super().__init__(student, dataset, names=names, **others)
        self._learned = nn.ModuleList(student.get_submodule(path) for path in modules)
        self._before = copy.deepcopy(self._learned).requires_grad_(False)

    @torch.no_grad()
    def mix(self, share: float) -> None:
        """Gives the student the mean of its weights before and of what it learned, by a share."""
        for mine, before in zip(self._learned.parameters(), self._before.parameters(), strict=True):
            mine.lerp_(before, 1 - share)


class HeadsTask(PartTask):
    """Teaches what reads the backbone's features to answer as before: the backbone was changed.

    * `patches` and `embeddings`: the answers before the change, in the cells that show the picture;
      each channel of the embeddings weighs alike.
    """

    losses = ("heads",)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        encoder, head = self._before
        shown = batch["token_mask"].flatten(1) > 0
        with torch.no_grad():
            tokens, embeddings_before = encoder(batch["images"])
            patches_before, _ = head(tokens, batch["token_mask"])
        tokens, embeddings = self.student.image_encoder(batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        wanted = embeddings_before.flatten(2).transpose(1, 2)[shown]
        found = embeddings.flatten(2).transpose(1, 2)[shown]
        missed = (found - wanted).square().mean(dim=0) / wanted.var(dim=0).clamp(min=1e-3)
        moved = 1 - F.cosine_similarity(patches, patches_before, dim=2)
        return {"patches": _KEPT * moved[shown].mean(), "embeddings": _KEPT * missed.mean()}


class PromptsTask(PartTask):
    """Teaches the prompt encoder and the mask decoder the masks of prompts and of labels.

    * `prompts` and `labels`: as in the joint training;
    * `presence`: likewise. It teaches nothing that is kept but the scale of the score maps that
      labels are asked by.
    """

    losses = ("prompts",)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        with torch.no_grad():
            tokens, embeddings = self.student.image_encoder(batch["images"])
            patches, _ = self._head()(tokens, batch["token_mask"])
        return {
            "presence": self._cells(batch, patches)["presence"],
            "prompts": self._prompts(batch, embeddings),
            "labels": self._labels(batch, embeddings, patches),
        }


class CellsTask(PartTask):
    """Teaches the layers that correct each cell where the names of things are.

    * `cells`, `presence` and `somewhere`: as in the joint training;
    * `kept`: a cell that no label tells anything of stays as it was, and one whose name was right.
      Of the pictures with a name that has no mask, no such cell is known.
    """

    losses = ("cells",)
    weights: ClassVar[dict[str, float]] = {}

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        (before,) = self._before
        with torch.no_grad():
            tokens, _ = self.student.image_encoder(batch["images"])
            coarse = self._head().classified(tokens)
            kept = before(tokens, coarse)
        patches = self._head().cells(tokens, coarse)
        targets = cell_names(batch)
        right = self.kin[(kept @ self.names.T).argmax(dim=2), targets.clamp(min=0)]
        stay = (right | (targets < 0)) & (batch["token_mask"].flatten(1) > 0)
        stay[unmasked_names(batch)[0]] = False
        moved = 1 - F.cosine_similarity(patches, kept, dim=2)
        return {
            **self._cells(batch, patches),
            "somewhere": self._somewhere(batch, patches, coarse),
            "kept": _KEPT * (moved * stay).sum() / stay.sum().clamp(min=1),
        }


TASKS: dict[Part, type[PartTask]] = {
    "pictures": PartTask,
    "heads": HeadsTask,
    "prompts": PromptsTask,
    "cells": CellsTask,
}
"""The task of each part."""
