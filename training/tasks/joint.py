"""One training of one backbone on true labels: names of cells, and masks of any prompt.

The paper merges two teachers by distillation. For photographs whose labels are at hand, both halves
learn from these at once; of the teachers one is left, the classifier that the backbone was.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.classifier_head import ClassifierHead
from training.batches import PATCH_PX
from training.tasks.cell_losses import NamedCells, NamedImages, PresentNames
from training.tasks.contact_sheet import draw_contact_sheet
from training.tasks.image_decoder import ImageDecoder, in_row_order, in_token_order
from training.tasks.label_prompts import LabelPrompts, ask_for_labels, disturbed, frame_of
from training.tasks.losses import MultimaskLoss, mask_iou
from training.tasks.mask_prompts import coarse_mask_prompt, correct
from training.tasks.proposals import ProposalLoss, encode, proposal_recall
from training.tasks.tasks import SHEET_ROWS, Task, iou_by_prompt
from training.tasks.taught_cells import (
    LOGIT_SCALE,
    absent_names,
    cell_names,
    draw_cells,
    seen_cells,
    unmasked_names,
)
from training.teachers.efficientnet_lite import ImageNetClassifier

_POINTS = 1024  # of a mask that the loss looks at
_COARSE, _CORRECTED = 0.33, 0.33  # shares of prompts with a coarse mask, and asked again
_PADDING = -20.0  # a score there, below all others


class JointTask(Task):
    """The training on all labels of photographs, in one pass of the backbone.

    * `classes`: what the classifier says of the image, so that no class is forgotten;
    * `images`: the image is nearest to its names;
    * `cells`: a cell that a mask covers by half is nearest to the mask's name, of all names;
    * `presence`: it shows that name, yes or no, and none that its set promises to be absent;
    * `somewhere`: a name that is known without a mask is to be found where the classifier sees it,
      in its box if it has one;
    * `prompts`: SAM's training, by points, boxes and coarse masks, and asked again;
    * `labels`: what text-to-mask asks, by the student's own score maps, from `labels_after` on;
    * `proposals`: the boxes of things of any kind, if the student has a proposal head.

    Args:
        student: a merged model with a `ClassifierHead`.
        classifier: what the backbone was; None if no class is to be kept.
        names: float32 [N,E], unit vectors of the names that batches number, and after them of
            others that a cell is to be told from.
        classes: int64 [1000], which of them each class of the classifier has; empty without one.
        kin: bool [N,N], which of them are of one thing, and never compete.
        labels_after: steps before labels are asked.

    Attributes:
        weights: those of the losses that do not weigh 1.
    """

    weights: ClassVar[dict[str, float]] = {"images": 0.5, "somewhere": 0.5}
    losses = ("joint",)
    metrics = (
        "cell_top1",
        "found",
        "false",
        "text_miou",
        "box_miou",
        "point_miou",
        "proposal_recall",
    )
    names: Tensor
    classes: Tensor
    kin: Tensor

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        names: Tensor,
        kin: Tensor,
        classifier: ImageNetClassifier | None = None,
        classes: Tensor | None = None,
        labels_after: int = 0,
        validation: Dataset[Any] | None = None,
    ) -> None:
        presence = PresentNames()
        classes = torch.zeros(0, dtype=torch.int64) if classes is None else classes
        parts: dict[str, nn.Module] = {
            "image_encoder": student.image_encoder,
            "clip_head": student.clip_head,
            "prompt_encoder": student.prompt_encoder,
            "mask_decoder": student.mask_decoder,
            "presence": presence,
        }
        super().__init__(dataset, parts, validation=validation)
        self.student = student
        self.classifier = classifier
        for key, value in (("names", names), ("classes", classes), ("kin", kin)):
            self.register_buffer(key, value, persistent=False)
        self.labels_after = labels_after
        self.presence = presence
        self.named_images = NamedImages()
        self.named_cells = NamedCells()
        self.mask_loss = MultimaskLoss(points=_POINTS)
        self.proposal_loss = ProposalLoss()
        self._told: dict[str, Tensor] = {}

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """Computes the weighted sum of all losses of a batch of `JointBatches`."""
        losses = self._losses(batch, step)
        self._told = {name: value.detach() for name, value in losses.items()}
        return torch.stack([self.weights.get(name, 1.0) * x for name, x in losses.items()]).sum()

    def details(self) -> dict[str, float]:
        """Returns the parts of the last loss."""
        return {f"joint/{name}": float(value) for name, value in self._told.items()}

    def measure(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Measures the answers that a user gets, for names with masks or promises.

        `cell_top1`: cells whose name is nearest, of all names that batches number. `found` and
        `false`: names asked for, there and not, whose presence is one half or more. And the IoU of
        single masks: of labels, boxes and points. `proposal_recall`: things that have a proposal.
        """
        tokens, embeddings, proposals = encode(self.student.image_encoder, batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        targets = cell_names(batch)
        named, known = targets >= 0, batch["present"].shape[1]
        nearest = (patches[named] @ self.names[:known].T).argmax(dim=1)
        maps = self._maps(batch, patches)
        seen = (maps.flatten(1).amax(dim=1) > 0).float()
        shown = batch["asked_shown"]
        asked, label_targets = self._asked(batch, maps)
        masks, _ = self._decode(embeddings, batch["asked_owners"], asked)
        alone = torch.zeros(len(batch["owners"]), device=embeddings.device)
        prompted, _ = self._decode(embeddings, batch["owners"], _plain(batch), has_mask=alone)
        ious = mask_iou(prompted[:, 0], batch["targets"])
        return {
            "cell_top1": (nearest == targets[named]).float(),
            "found": seen[shown],
            "false": seen[~shown],
            "text_miou": mask_iou(masks[:, 0], label_targets)[shown],
            **iou_by_prompt(ious, batch["point_labels"]),
            "proposal_recall": proposal_recall(proposals, batch),
        }

    def draw(self, batch: dict[str, Tensor]) -> np.ndarray | None:
        """Draws each image's first label: points, truth, score map and mask."""
        tokens, embeddings, *_ = self.student.image_encoder(batch["images"])
        patches, _ = self._head()(tokens, batch["token_mask"])
        owners = batch["asked_owners"]
        if not len(owners):
            return None
        asked, targets = self._asked(batch, self._maps(batch, patches))
        masks, _ = self._decode(embeddings, owners, asked)
        first = torch.cat([owners.new_ones(1, dtype=torch.bool), owners[1:] != owners[:-1]])
        rows = first.nonzero().flatten()[:SHEET_ROWS]
        columns = (targets.float() - 0.5, asked.mask_input[:, 0], masks[:, 0])
        return draw_contact_sheet(
            batch["images"][owners[rows]],
            asked.coords[rows],
            asked.labels[rows],
            masks=[each[rows] for each in columns],
        )

    def calibration(self) -> Calibration:
        """Returns the map from cosines to scores that the presence has learned so far."""
        scale = float(self.presence.scale.detach().exp())
        bias = -float(self.presence.bias.detach()) / scale
        return UNCALIBRATED.model_copy(update={"scale": scale, "bias": bias})

    def _head(self) -> ClassifierHead:
        head = self.student.clip_head
        assert isinstance(head, ClassifierHead)
        return head

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Computes the losses by name."""
        tokens, embeddings, proposals = encode(self.student.image_encoder, batch["images"])
        coarse, pooled = self._head().classified(tokens, batch["token_mask"])
        patches = self._head().cells(tokens, coarse)
        decoder = ImageDecoder(self.student, embeddings)
        losses = self._names(batch, coarse, patches, pooled)
        losses |= self._proposals(batch, proposals)
        losses["prompts"] = self._prompts(batch, decoder)
        if step >= self.labels_after:
            losses["labels"] = self._labels(batch, decoder, patches)
        return losses

    def _proposals(self, batch: dict[str, Tensor], proposals: Tensor | None) -> dict[str, Tensor]:
        """Computes the loss of the proposal head, by name, if there is one that learns."""
        if proposals is None or not proposals.requires_grad:
            return {}
        targets = batch["assigned"], batch["boxes"], batch["background"]
        with torch.autocast(proposals.device.type, enabled=False):
            return {"proposals": self.proposal_loss(proposals, *targets)}

    def _names(
        self, batch: dict[str, Tensor], coarse: Tensor, patches: Tensor, pooled: Tensor
    ) -> dict[str, Tensor]:
        """Computes the losses of the names of images and of cells."""
        assert self.classifier is not None
        told = self.classifier(batch["images"], batch["token_mask"])
        with torch.autocast(pooled.device.type, enabled=False):  # bf16 has steps of .004
            images = LOGIT_SCALE * pooled @ self.names.T
            return {
                "classes": F.cross_entropy(images[:, self.classes], told),
                "images": self.named_images(images, batch["present"], self.kin),
                **self._cells(batch, patches),
                "somewhere": self._somewhere(batch, patches, coarse),
            }

    def _cells(self, batch: dict[str, Tensor], patches: Tensor) -> dict[str, Tensor]:
        """Computes the losses of the names of cells that masks cover, and of absent names."""
        known = batch["present"].shape[1]
        targets = cell_names(batch)
        image, cell = draw_cells(batch, targets)
        taught = targets[image, cell]
        absent = absent_names(batch, image, cell, self.kin[:known, :known])
        named = taught >= 0
        cosines = patches[image, cell] @ self.names.T
        return {
            "cells": self.named_cells(LOGIT_SCALE * cosines[named], taught[named], self.kin),
            "presence": self.presence(cosines[:, :known], taught, absent),
        }

    def _somewhere(self, batch: dict[str, Tensor], patches: Tensor, coarse: Tensor) -> Tensor:
        """Names that are there without a mask: where the classifier sees one, cells are like it.

        Where the cells themselves are most like it would teach the ground around the thing, which
        no other name claims.
        """
        image, name, indices = unmasked_names(batch)
        if not len(image):
            return patches.sum() * 0
        vectors = self.names[name]
        shares = seen_cells(coarse.detach()[image], vectors, indices)
        seen = torch.einsum("pn,pne->pe", shares, patches[image])
        logits = LOGIT_SCALE * seen @ self.names.T
        rivals = batch["present"][image].float() @ self.kin[: batch["present"].shape[1]].float()
        own = F.one_hot(name, len(self.names)).bool()
        logits = logits.masked_fill((rivals > 0) & ~own, -torch.inf)
        yes = F.softplus(-self.presence.logits((seen * vectors).sum(dim=1))).mean()
        return F.cross_entropy(logits, name) + yes

    def _prompts(self, batch: dict[str, Tensor], decoder: ImageDecoder) -> Tensor:
        """SAM's loss against the true masks; some prompts come with a coarse mask, or twice."""
        owners, targets = batch["owners"], batch["targets"].float()
        if not len(owners):
            return decoder.embeddings.sum() * 0
        coords, labels = batch["point_coords"], batch["point_labels"]
        coarse = _some(targets, share=_COARSE)
        given = coarse_mask_prompt(torch.logit(targets[coarse], eps=1e-4))
        true = in_token_order(targets)
        masks, iou = decoder(owners, LabelPrompts(coords, labels, given), coarse)
        loss: Tensor = self.mask_loss(masks.unsqueeze(2), iou, true.unsqueeze(1))
        again = _some(targets, share=_CORRECTED)
        if len(again):
            answers = in_row_order(masks[again, 0].detach())
            corrected = correct(coords[again], labels[again], answers, targets[again])
            masks, iou = decoder(owners[again], LabelPrompts(*corrected), _all(again))
            missed = self.mask_loss(masks.unsqueeze(2), iou, true[again].unsqueeze(1))
            loss = loss + len(again) / len(owners) * missed
        return loss

    def _labels(self, batch: dict[str, Tensor], decoder: ImageDecoder, patches: Tensor) -> Tensor:
        """SAM's loss for labels that are there; a mask of another is worth nothing."""
        owners = batch["asked_owners"]
        if not len(owners):
            return decoder.embeddings.sum() * 0
        asked, targets = self._asked(batch, disturbed(self._maps(batch, patches)))
        masks, iou = decoder(owners, asked, _all(owners))
        there = batch["asked_shown"] & targets.any(dim=2).any(dim=1)
        loss = (iou[~there] ** 2).sum() / iou.numel()
        if there.any():
            true = in_token_order(targets[there])
            loss = loss + self.mask_loss(masks[there].unsqueeze(2), iou[there], true.unsqueeze(1))
        return loss

    def _maps(self, batch: dict[str, Tensor], patches: Tensor) -> Tensor:
        """Score maps [L,g,g] of the labels that are asked for."""
        vectors, owners = self.names[batch["asked"]], batch["asked_owners"]
        cosines = torch.einsum("lne,le->ln", patches[owners].detach().float(), vectors)
        scores = self.presence.logits(cosines).detach()
        grid = batch["token_mask"].shape[-1]
        padding = batch["token_mask"][owners] == 0
        return scores.view(-1, grid, grid).masked_fill(padding, _PADDING)

    def _asked(self, batch: dict[str, Tensor], maps: Tensor) -> tuple[LabelPrompts, Tensor]:
        """The labels' prompts, and the masks [L,h,h] that they ask for."""
        size = batch["images"].shape[-1]
        frames = [frame_of(mask, size) for mask in batch["token_mask"].cpu().numpy()]
        return ask_for_labels(
            maps,
            batch["asked_targets"].float(),
            frames=[frames[owner] for owner in batch["asked_owners"].tolist()],
            calibration=self.calibration(),
        )

    def _decode(
        self,
        embeddings: Tensor,
        owners: Tensor,
        label_prompts: LabelPrompts,
        *,
        has_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mask logits [M,4,4g,4g] and predicted IoUs [M,4] of prompts, each of its image."""
        if not len(owners):
            side = label_prompts.mask_input.shape[-1]
            return embeddings.new_zeros(0, 4, side, side), embeddings.new_zeros(0, 4)
        if has_mask is None:
            has_mask = torch.ones(len(owners), device=owners.device)
        # The prompt encoder counts in pixels of the model's own resolution.
        scale = self.student.prompt_encoder.resolution / (PATCH_PX * embeddings.shape[-1])
        label_prompts = label_prompts._replace(coords=(label_prompts.coords + 0.5) * scale - 0.5)
        prompts = self.student.prompt_encoder(*label_prompts, has_mask.float())
        masks, iou = self.student.mask_decoder(embeddings[owners], *prompts)
        return masks.float(), iou.float()


def _some(rows: Tensor, *, share: float) -> Tensor:
    """Draws rows [K,...], each with a probability: int64 [n]."""
    return (torch.rand(len(rows), device=rows.device) < share).nonzero().flatten()


def _all(rows: Tensor) -> Tensor:
    """The numbers of all rows [K,...]: int64 [K]."""
    return torch.arange(len(rows), device=rows.device)


def _plain(batch: dict[str, Tensor]) -> LabelPrompts:
    """The prompts of things, without a mask."""
    coords, labels = batch["point_coords"], batch["point_labels"]
    side = batch["targets"].shape[-1]
    return LabelPrompts(coords, labels, coords.new_zeros(len(coords), 1, side, side))
