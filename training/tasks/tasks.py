"""Tasks: a model in training, with its data and its losses. The loop knows a `Task` only.

The tasks of the two small teachers are here; the merge is in `distill.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from training.tasks.contact_sheet import draw_contact_sheet
from training.tasks.losses import MultimaskLoss, mask_iou
from training.tasks.mask_prompts import coarse_mask_prompt, correct
from training.teachers.captions import Captions, tokenize
from training.teachers.small import SmallClip, SmallSam

_COARSE, _CORRECTED = 1, 2  # kinds of a SAM teacher's steps

SHEET_ROWS = 8
"""Prompts on a contact sheet."""


class Task(nn.Module):
    """A model in training, with its data and its losses.

    Attributes:
        dataset: batches of the training, by index.
        validation: batches that are never trained on; None without a validation.
        parts: the parts that can be trained, by the names that multipliers use. Only they are kept
            in the run's checkpoint.
        losses: names of the losses. Each is walked backward before the next one is computed.
        metrics: names of what `measure` measures; higher is better.
    """

    losses: tuple[str, ...]
    metrics: tuple[str, ...]

    def __init__(
        self,
        dataset: Dataset[Any],
        parts: dict[str, nn.Module],
        *,
        validation: Dataset[Any] | None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.validation = validation
        self.parts = nn.ModuleDict(parts)

    def forward(self, batch: Any, *, loss: str, step: int) -> Tensor:
        """Computes one of `losses`, a scalar."""
        raise NotImplementedError

    def details(self) -> dict[str, float]:
        """Returns the parts of the last loss by name, for the log; nothing if it has none."""
        return {}

    def count_images(self, batch: Any) -> int:
        """Returns the number of images in a batch of `dataset`."""
        return len(batch["images"])

    def count_broken(self, batch: Any) -> int:
        """Returns the number of broken records that were replaced while the batch was read."""
        return int(batch["broken"].sum()) if "broken" in batch else 0

    def measure(self, batch: Any) -> dict[str, Tensor]:
        """Measures a batch of `validation`.

        Returns:
            The values [n] of each metric, one for each image or prompt.
        """
        raise NotImplementedError

    def draw(self, batch: Any) -> np.ndarray | None:
        """Draws a contact sheet, uint8 RGB [H,W,3], of a batch of `validation`, if possible."""
        return None


class ClipTeacherTask(Task):
    """The contrastive training of the small CLIP: each image against one caption of each noun.

    Captions of the other images are not used, for a batch has some nouns twice. An image with
    several nouns has several right answers. The text tower is kept near MiniLM's sentence
    embeddings, so that synonyms and nouns without a drawing get sensible embeddings.
    """

    losses = ("contrast",)
    metrics = ("top1",)

    def __init__(
        self,
        clip: SmallClip,
        dataset: Dataset[Any],
        captions: Captions,
        *,
        validation: Dataset[Any],
        text_weight: float,
        text_only_steps: int,
    ) -> None:
        super().__init__(dataset, {"clip": clip}, validation=validation)
        self.clip = clip
        self.captions = captions
        self.text_weight = text_weight
        self.text_only_steps = text_only_steps

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """Computes the contrast and the texts' distance; in the first steps, the distance only."""
        seen = batch["nouns"]
        rng = np.random.default_rng([step, 3])
        ids, sentences, has_sentence = (
            x.to(seen.device) for x in self.captions.draw(rng, extra=64)
        )
        texts = self.clip.text_encoder(ids)
        near: Tensor = self.text_weight * (1 - (texts * sentences).sum(dim=1)[has_sentence].mean())
        if step < self.text_only_steps:
            return near
        right = torch.cat([seen, ~seen.any(dim=1, keepdim=True)], dim=1).float()
        right = right / right.sum(dim=1, keepdim=True)
        images = self.clip.embed_images(batch["images"])
        logits = self.clip.logit_scale.exp().clamp(max=100) * images @ texts[: right.shape[1]].T
        contrast: Tensor = F.cross_entropy(logits, right, label_smoothing=0.05)
        return contrast + near

    def measure(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Measures for each image of one noun whether this noun is nearest, of all."""
        ids = tokenize(self.captions.photos()).to(batch["nouns"].device)
        classes = self.clip.text_encoder(ids)
        embeddings = self.clip.embed_images(batch["images"])
        return {"top1": top1(embeddings, classes=classes, nouns=batch["nouns"])}


class SamTeacherTask(Task):
    """SAM's own training on true masks.

    One of three steps has coarse masks as prompts. Another one asks again, with the mask so far
    and a point where it is wrong.
    """

    losses = ("multimask",)
    metrics = ("box_miou", "point_miou")

    def __init__(
        self, sam: SmallSam, dataset: Dataset[Any], *, validation: Dataset[Any] | None
    ) -> None:
        super().__init__(dataset, dict(sam.named_children()), validation=validation)
        self.sam = sam
        self.mask_loss = MultimaskLoss()

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """Computes SAM's loss against the true masks; the step tells its three kinds apart."""
        coords, labels, targets = batch["point_coords"], batch["point_labels"], batch["targets"]
        embeddings = self.sam.encode(batch["images"])
        mask_input = None
        if step % 3 == _COARSE:
            mask_input = coarse_mask_prompt(torch.logit(targets.float(), eps=1e-4))
        masks, iou = self.sam.decode(embeddings, coords, labels, mask_input)
        multimask: Tensor = self.mask_loss(masks, iou, targets)
        if step % 3 == _CORRECTED:
            again = correct(coords, labels, masks[:, 0].detach(), targets)
            masks, iou = self.sam.decode(embeddings, *again)
            multimask = (multimask + self.mask_loss(masks, iou, targets)) / 2
        return multimask

    def measure(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Measures the IoU of each single mask with the true one."""
        coords, labels = batch["point_coords"], batch["point_labels"]
        masks, _ = self.sam.decode(self.sam.encode(batch["images"]), coords, labels, None)
        return iou_by_prompt(mask_iou(masks[:, 0], batch["targets"]), labels)

    def draw(self, batch: dict[str, Tensor]) -> np.ndarray:
        """Draws the first prompt of each scene, the true mask and SAM's mask."""
        embeddings = self.sam.encode(batch["images"])
        coords, labels = batch["point_coords"], batch["point_labels"]
        masks, _ = self.sam.decode(embeddings, coords, labels, None)
        first = first_prompts(batch)
        return draw_contact_sheet(
            batch["images"][:SHEET_ROWS],
            coords[first],
            labels[first],
            masks=[batch["targets"][first].float() - 0.5, masks[first, 0]],
        )


def top1(embeddings: Tensor, *, classes: Tensor, nouns: Tensor) -> Tensor:
    """Returns for images [B,E] with one noun, bool [B,N], whether its class [N,E] is nearest.

    Returns:
        float [n], 0 or 1, of the images with exactly one noun.
    """
    single = nouns.sum(dim=1) == 1
    nearest = (embeddings[single] @ classes.T).argmax(dim=1, keepdim=True)
    return nouns[single].gather(1, nearest).squeeze(1).float()


def iou_by_prompt(ious: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Splits IoUs [K] into those of prompts with a box and those without, by labels [K,P]."""
    boxed = (labels == 2).any(dim=1)
    return {"box_miou": ious[boxed], "point_miou": ious[~boxed]}


def first_prompts(scenes: dict[str, Tensor]) -> Tensor:
    """Returns the rows of the first prompts of the first scenes of a batch."""
    prompts = len(scenes["point_coords"]) // len(scenes["images"])
    return torch.arange(min(SHEET_ROWS, len(scenes["images"]))) * prompts
