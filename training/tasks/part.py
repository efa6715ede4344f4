"""The joint training of a part of a finished model alone: all else stays as it is."""

from __future__ import annotations

import copy
import hashlib
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from training.tasks.cell_losses import FalseAlarms
from training.tasks.image_decoder import ImageDecoder
from training.tasks.joint import JointTask
from training.tasks.proposals import encode
from training.tasks.taught_cells import cell_names, judged_cells, unmasked_names

Part = Literal["pictures", "heads", "outlines", "prompts", "cells", "proposals"]

MODULES: dict[Part, tuple[str, ...]] = {
    "pictures": ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder"),
    "heads": ("image_encoder", "clip_head"),
    "outlines": ("image_encoder", "prompt_encoder", "mask_decoder"),
    "prompts": ("prompt_encoder", "mask_decoder"),
    "cells": ("clip_head.cells",),
    "proposals": ("image_encoder.proposal_head",),
}
"""The modules of each part, by their paths in the model."""

_KEPT = 10.0  # weight of the cells that there is nothing to teach


class PartTask(JointTask):
    """Teaches a part of a finished model all losses of the joint training, or some.

    Args:
        student: a merged model with a `ClassifierHead`.
        modules: what learns, by paths in the model.
        names: float32 [N,E], as in `JointTask`; the student's own embeddings.
        fresh: whether the proposal head has random weights, which are no part of any mean.
    """

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        modules: tuple[str, ...],
        names: Tensor,
        fresh: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(student, dataset, names=names, **others)
        head = student.get_submodule("image_encoder.proposal_head") if fresh else nn.Module()
        self._fresh = {id(each) for each in head.parameters()}
        self._learned = nn.ModuleList(student.get_submodule(path) for path in modules)
        self._before = copy.deepcopy(self._learned).requires_grad_(False)

    @torch.no_grad()
    def mix(self, share: float) -> None:
        """Gives the student the mean of its weights before and of what it learned, by a share."""
        for mine, before in zip(self._learned.parameters(), self._before.parameters(), strict=True):
            if id(mine) not in self._fresh:
                mine.lerp_(before, 1 - share)


class HeadsTask(PartTask):
    """Teaches what reads the backbone's features to answer as before: the backbone was changed.

    * `patches`, `embeddings` and, if there are any, `proposals`: the answers before the change, in
      the cells that show the image; each channel of the latter two weighs alike.
    """

    losses = ("heads",)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        encoder, head = self._before
        shown = batch["token_mask"].flatten(1) > 0
        with torch.no_grad():
            tokens, embeddings_before, proposals_before = encode(encoder, batch["images"])
            patches_before, _ = head(tokens, batch["token_mask"])
        tokens, embeddings, proposals = encode(self.student.image_encoder, batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        moved = 1 - F.cosine_similarity(patches, patches_before, dim=2)
        losses = {
            "patches": _KEPT * moved[shown].mean(),
            "embeddings": _KEPT * _missed(embeddings, embeddings_before, shown),
        }
        if proposals is not None and proposals_before is not None:
            losses["proposals"] = _KEPT * _missed(proposals, proposals_before, shown)
        return losses


def _missed(found: Tensor, wanted: Tensor, shown: Tensor) -> Tensor:
    """How far maps [B,C,g,g] are from others in the cells shown, bool [B,n], in variances."""
    found, wanted = (each.flatten(2).transpose(1, 2)[shown] for each in (found, wanted))
    missed = (found - wanted).square().mean(dim=0) / wanted.var(dim=0).clamp(min=1e-3)
    return missed.mean()


class PromptsTask(PartTask):
    """Teaches what draws masks those of prompts and of labels.

    * `prompts` and `labels`: as in the joint training, and `proposals` where the image encoder
      learns;
    * `presence`: likewise. It teaches nothing that is kept but the scale of the score maps that
      labels are asked by.
    """

    losses = ("prompts",)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        tokens, embeddings, proposals = encode(self.student.image_encoder, batch["images"])
        with torch.no_grad():
            patches, _ = self._head()(tokens, batch["token_mask"])
        decoder = ImageDecoder(self.student, embeddings)
        return {
            **self._proposals(batch, proposals),
            "presence": self._cells(batch, patches)["presence"],
            "prompts": self._prompts(batch, decoder),
            "labels": self._labels(batch, decoder, patches),
        }


class CellsTask(PartTask):
    """Teaches the layers that correct each cell where the names of things are.

    * `cells`, `presence` and `somewhere`: as in the joint training;
    * `kept`: a cell that no label tells anything of stays as it was, and one whose name was right.
      Of the images with a name that has no mask, no such cell is known.
    """

    losses = ("cells",)
    weights: ClassVar[dict[str, float]] = {}

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        (before,) = self._before
        with torch.no_grad():
            tokens, *_ = self.student.image_encoder(batch["images"])
            coarse, _ = self._head().classified(tokens, batch["token_mask"])
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


class ProposalsTask(PartTask):
    """Teaches the proposal head alone, on features that stay: the joint training's `proposals`."""

    losses = ("proposals",)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        encoder = self.student.image_encoder
        assert isinstance(encoder, PyramidEncoder)
        return self._proposals(batch, encoder.propose(batch["images"], frozen=True))


class FinetuneTask(PartTask):
    """Teaches the CLIP head and the mask decoder some names more.

    * `cells`, `presence`, `prompts` and `labels`: as in the joint training;
    * `alarms`: the cells of an image that look most like a name that it does not show;
    * `kept`: a cell that shows none of the names is embedded as before, so that no other word is
      forgotten. The backbone and the scale of scores stay as they are, and so do thresholds.

    Args:
        student: a merged model with a `ClassifierHead`.
        dataset: of `JointBatches` without augmentation: an image is always the same.
    """

    losses = ("finetune",)
    weights: ClassVar[dict[str, float]] = {"kept": 10.0, "prompts": 0.5}

    def __init__(
        self, student: SamClipModel, dataset: Dataset[Any], *, names: Tensor, kin: Tensor
    ) -> None:
        super().__init__(student, dataset, modules=("clip_head",), names=names, kin=kin)
        self.false_alarms = FalseAlarms()
        self._seen: dict[bytes, tuple[Tensor, Tensor]] = {}

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        tokens, embeddings = self._features(batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        decoder = ImageDecoder(self.student, embeddings)
        return {
            **self._cells(batch, patches),
            "alarms": self._alarms(batch, patches),
            "kept": self._kept(batch, tokens, patches),
            "prompts": self._prompts(batch, decoder),
            "labels": self._labels(batch, decoder, patches),
        }

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The backbone's outputs for images, each computed once and kept in half precision."""
        rows = []
        for image in images:
            key = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
            if key not in self._seen:
                with torch.no_grad():
                    tokens, embeddings, *_ = self.student.image_encoder(image[None])
                self._seen[key] = tokens.half(), embeddings.half()
            rows.append(self._seen[key])
        tokens, embeddings = (torch.cat(each).float() for each in zip(*rows, strict=True))
        return tokens, embeddings

    def _alarms(self, batch: dict[str, Tensor], patches: Tensor) -> Tensor:
        """What is taken for a name in images that show neither it nor its kin."""
        known = batch["present"].shape[1]
        related = batch["present"].float() @ self.kin[:known, :known].float() > 0
        logits = self.presence.logits(patches @ self.names[:known].T)
        loss: Tensor = self.false_alarms(logits, judged_cells(batch), batch["absent"] & ~related)
        return loss

    def _kept(self, batch: dict[str, Tensor], tokens: Tensor, patches: Tensor) -> Tensor:
        """How far cells without a name have moved: one minus the cosine."""
        (head,) = self._before
        with torch.no_grad():
            before, _ = head(tokens, batch["token_mask"])
        other = judged_cells(batch) & (batch["coverage"].flatten(2).sum(dim=1) == 0)
        moved = 1 - (patches * before).sum(dim=2)
        mean: Tensor = (moved * other).sum() / other.sum().clamp(min=1)
        return mean


TASKS: dict[Part, type[PartTask]] = {
    "pictures": PartTask,
    "heads": HeadsTask,
    "outlines": PromptsTask,
    "prompts": PromptsTask,
    "cells": CellsTask,
    "proposals": ProposalsTask,
}
"""The task of each part."""
