"""The joint training of a finished model's heads alone, on features that are computed once."""

from __future__ import annotations

import copy
import hashlib
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from training.tasks.cell_losses import FalseAlarms
from training.tasks.joint import JointTask, judged_cells


class FinetuneTask(JointTask):
    """Teaches the CLIP head and the mask decoder some names more.

    * `cells`, `presence`, `prompts` and `labels`: as in the joint training;
    * `alarms`: the cells of a picture that look most like a name that it does not show;
    * `kept`: a cell that shows none of the names is embedded as before, so that no other word is
      forgotten. The backbone and the scale of scores stay as they are, and so do thresholds.

    Args:
        student: a merged model with a `ClassifierHead`.
        dataset: of `JointBatches` without augmentation: a picture is always the same.
        names: float32 [N,E], as in `JointTask`.
        kin: bool [N,N], as in `JointTask`.
    """

    losses = ("finetune",)
    weights: ClassVar[dict[str, float]] = {"kept": 10.0, "prompts": 0.5}

    def __init__(
        self, student: SamClipModel, dataset: Dataset[Any], *, names: Tensor, kin: Tensor
    ) -> None:
        super().__init__(student, dataset, names=names, kin=kin)
        self.before = copy.deepcopy(self._head()).requires_grad_(False)
        self.false_alarms = FalseAlarms()
        self._seen: dict[bytes, tuple[Tensor, Tensor]] = {}

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        tokens, embeddings = self._features(batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        return {
            **self._cells(batch, patches),
            "alarms": self._alarms(batch, patches),
            "kept": self._kept(batch, tokens, patches),
            "prompts": self._prompts(batch, embeddings),
            "labels": self._labels(batch, embeddings, patches),
        }

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The backbone's outputs for pictures, each computed once and kept in half precision."""
        rows = []
        for image in images:
            key = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
            if key not in self._seen:
                with torch.no_grad():
                    tokens, embeddings = self.student.image_encoder(image[None])
                self._seen[key] = tokens.half(), embeddings.half()
            rows.append(self._seen[key])
        tokens, embeddings = (torch.cat(each).float() for each in zip(*rows, strict=True))
        return tokens, embeddings

    def _alarms(self, batch: dict[str, Tensor], patches: Tensor) -> Tensor:
        """What is taken for a name in pictures that show neither it nor its kin."""
        known = batch["present"].shape[1]
        related = batch["present"].float() @ self.kin[:known, :known].float() > 0
        logits = self.presence.logits(patches @ self.names[:known].T)
        loss: Tensor = self.false_alarms(logits, judged_cells(batch), batch["absent"] & ~related)
        return loss

    def _kept(self, batch: dict[str, Tensor], tokens: Tensor, patches: Tensor) -> Tensor:
        """How far cells without a name have moved: one minus the cosine."""
        with torch.no_grad():
            before, _ = self.before(tokens, batch["token_mask"])
        other = judged_cells(batch) & (batch["coverage"].flatten(2).sum(dim=1) == 0)
        moved = 1 - (patches * before).sum(dim=2)
        mean: Tensor = (moved * other).sum() / other.sum().clamp(min=1)
        return mean
