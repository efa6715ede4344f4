"""The joint training of the prompt encoder and the mask decoder alone: all else is finished."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from training.tasks.joint import JointTask


class PromptsTask(JointTask):
    """Teaches the prompt encoder and the mask decoder the masks of prompts and of labels.

    * `prompts` and `labels`: as in the joint training;
    * `presence`: likewise, with names as the student embeds them. It teaches nothing that is kept
      but the scale of the score maps that labels are asked by.

    Args:
        student: a merged model with a `ClassifierHead`.
        dataset: of `JointBatches`.
        names: float32 [N,E], as in `JointTask`.
        kin: bool [N,N], as in `JointTask`.
        validation: as in `JointTask`.
    """

    losses = ("prompts",)

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        names: Tensor,
        kin: Tensor,
        validation: Dataset[Any] | None,
    ) -> None:
        super().__init__(student, dataset, names=names, kin=kin, validation=validation)
        self._learned = nn.ModuleList([student.prompt_encoder, student.mask_decoder])
        self._before = copy.deepcopy(self._learned).requires_grad_(False)

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """Computes the sum of all losses; see `JointTask.forward`."""
        with torch.no_grad():
            tokens, embeddings = self.student.image_encoder(batch["images"])
            patches, _ = self._head()(tokens, batch["token_mask"])
        losses = {
            "presence": self._cells(batch, patches)["presence"],
            "prompts": self._prompts(batch, embeddings),
            "labels": self._labels(batch, embeddings, patches),
        }
        self._told = {name: value.detach() for name, value in losses.items()}
        return torch.stack([*losses.values()]).sum()

    @torch.no_grad()
    def mix(self, share: float) -> None:
        """Gives the student the mean of its weights before and of what it learned, by a share."""
        for mine, before in zip(self._learned.parameters(), self._before.parameters(), strict=True):
            mine.lerp_(before, 1 - share)
