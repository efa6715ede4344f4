"""What is trained, on what, against what: the loop knows a `Task` and nothing more."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.ops import roi_align

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.clip_head import max_pool
from training.captions import Captions
from training.losses import CosineDistillation, MaskDistillation, MultimaskLoss
from training.teachers import ClipTeacher, SamTeacher, SmallClip, SmallSam, coarse_mask_prompt


class Task(nn.Module):
    """A model in training, with its data and its losses: all that the loop knows of a stage.

    Attributes:
        dataset: what batches come from, by index.
        parts: the parts that can be trained, by the names that learning rates go by; they alone
            are kept in the run's checkpoint.
        losses: names of the losses; each is walked backward before the next is computed.
    """

    losses: tuple[str, ...]

    def __init__(self, dataset: Dataset[Any], parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.dataset = dataset
        self.parts = nn.ModuleDict(parts)

    def forward(self, batch: Any, *, loss: str, step: int) -> Tensor:
        """Computes one of `losses`, a scalar."""
        raise NotImplementedError


class ClipTeacherTask(Task):
    """Contrastive training of the small CLIP: each picture against every noun's caption.

    A batch would hold a noun twice, so pictures are contrasted with one caption a noun instead of
    with one another's; a picture of several nouns has several right answers. The text tower is
    held near MiniLM's sentence embeddings, which places synonyms and nouns without a drawing.
    """

    losses = ("contrast",)

    def __init__(
        self,
        clip: SmallClip,
        dataset: Dataset[Any],
        captions: Captions,
        *,
        text_weight: float,
        text_only_steps: int,
    ) -> None:
        super().__init__(dataset, {"clip": clip})
        self.clip = clip
        self.captions = captions
        self.text_weight = text_weight
        self.text_only_steps = text_only_steps

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """The contrast, and the text's distance from MiniLM: that alone for `text_only_steps`.

        Args:
            batch: of `PictureBatches`: `images` and `nouns`.
            loss: `contrast`.
            step: seeds the captions.
        """
        seen = batch["nouns"]
        rng = np.random.default_rng([step, 3])
        ids, sentences, has_sentence = (
            x.to(seen.device) for x in self.captions.draw(rng, extra=64)
        )
        texts = self.clip.text_encoder(ids)
        near = self.text_weight * (1 - (texts * sentences).sum(dim=1)[has_sentence].mean())
        if step < self.text_only_steps:
            return near
        right = torch.cat([seen, ~seen.any(dim=1, keepdim=True)], dim=1).float()
        right = right / right.sum(dim=1, keepdim=True)
        images = self.clip.embed_images(batch["images"])
        logits = self.clip.logit_scale.exp().clamp(max=100) * images @ texts[: right.shape[1]].T
        contrast = F.cross_entropy(logits, right, label_smoothing=0.05)
        return contrast + near


class SamTeacherTask(Task):
    """SAM's own training on composed scenes: half of the prompts come with a coarse mask."""

    losses = ("multimask",)

    def __init__(self, sam: SmallSam, dataset: Dataset[Any]) -> None:
        super().__init__(dataset, dict(sam.named_children()))
        self.sam = sam
        self.mask_loss = MultimaskLoss()

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """SAM's loss against the true masks.

        Args:
            batch: of `SceneBatches`: `images`, prompts and `targets`.
            loss: `multimask`.
            step: odd steps come with a mask prompt.
        """
        coords, labels, targets = batch["point_coords"], batch["point_labels"], batch["targets"]
        embeddings = self.sam.encode(batch["images"])
        mask_input = None
        if step % 2:
            mask_input = coarse_mask_prompt(torch.logit(targets.float(), eps=1e-4))
        masks, iou = self.sam.decode(embeddings, coords, labels, mask_input)
        return self.mask_loss(masks, iou, targets)


class DistillTask(Task):
    """The merge: the student imitates both teachers and sees no label and no true mask.

    Two losses a step, accumulated: pictures against CLIP's embeddings, then scenes against SAM's
    masks for the same prompts (and regions of them against CLIP, ours). The student's text
    encoder is no part: it stays the CLIP teacher's.
    """

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        clip: ClipTeacher,
        sam: SamTeacher,
        sam_weight: float,
        region_weight: float,
        dense_weight: float,
    ) -> None:
        parts = dict(student.named_children())
        del parts["text_encoder"]
        super().__init__(dataset, parts)
        self.losses = ("clip", "scenes") if sam_weight or region_weight else ("clip",)
        self.student = student
        self.student_sam = SmallSam(student)
        self.clip = clip
        self.sam = sam
        self.sam_weight = sam_weight
        self.region_weight = region_weight
        self.dense_weight = dense_weight
        self.embedding_loss = CosineDistillation()
        self.mask_loss = MaskDistillation()

    def forward(self, batch: dict[str, dict[str, Tensor]], *, loss: str, step: int) -> Tensor:
        """One of the two losses.

        Args:
            batch: `pictures` (`images`, `token_mask`) and perhaps `scenes` (those and prompts,
                `regions`).
            loss: `clip` or `scenes`.
            step: odd steps come with a mask prompt, drawn from the teacher's own mask.
        """
        if loss == "clip":
            return self._clip_loss(batch["pictures"])
        scenes = batch["scenes"]
        with torch.no_grad():
            reference = self.sam.encode(scenes["images"])
        tokens, embeddings = self.student.image_encoder(scenes["images"])
        total = tokens.new_zeros((), dtype=torch.float32)
        if self.sam_weight:
            sam_loss = self._sam_loss(scenes, embeddings, reference, with_mask=bool(step % 2))
            total = total + self.sam_weight * sam_loss
        if self.region_weight:
            total = total + self._region_loss(scenes, tokens, reference)
        return total

    def _clip_loss(self, pictures: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            target = self.clip.embed_images(pictures["images"])
        head = self.student.clip_head
        tokens, _ = self.student.image_encoder(pictures["images"])
        patches, mask = head.encode(tokens, pictures["token_mask"])
        return self.embedding_loss(head.embed(max_pool(patches, mask)), target)

    def _sam_loss(
        self,
        scenes: dict[str, Tensor],
        embeddings: Tensor,
        reference: Tensor,
        *,
        with_mask: bool,
    ) -> Tensor:
        """Student and teacher on the same prompts, from embeddings and reference [B,D,g,g]."""
        coords, labels = scenes["point_coords"], scenes["point_labels"]
        mask_input = None
        with torch.no_grad():
            masks, iou = self.sam.decode(reference, coords, labels, None)
            if with_mask:
                mask_input = coarse_mask_prompt(masks[:, 0])
                masks, iou = self.sam.decode(reference, coords, labels, mask_input)
        student_masks, student_iou = self.student_sam.decode(embeddings, coords, labels, mask_input)
        return self.mask_loss(student_masks, student_iou, masks, iou)

    def _region_loss(self, scenes: dict[str, Tensor], tokens: Tensor, reference: Tensor) -> Tensor:
        """CLIP's embedding of a crop, against the head's features in that box of the scene.

        Twice: pooled over the box's patches, and patch by patch where the SAM teacher sees the
        object that the box holds. The second teaches the dense path, which is never pooled.
        """
        head = self.student.clip_head
        images, boxes = scenes["images"], scenes["regions"]
        owner = torch.arange(len(images), device=images.device)
        owner = owner.repeat_interleave(len(boxes) // len(images))
        with torch.no_grad():
            rois = torch.cat([owner[:, None].float(), boxes], dim=1)
            crops = roi_align(images.float(), rois, self.clip.resolution, aligned=True)
            target = self.clip.embed_images(crops)
        patches, mask = head.encode(tokens, scenes["token_mask"])
        side = int(patches.shape[1] ** 0.5)
        inside = _cells_inside(boxes, size_px=images.shape[-1], side=side) * mask[owner]
        pooled = head.embed(max_pool(patches[owner], inside))
        loss = self.region_weight * self.embedding_loss(pooled, target)
        if self.dense_weight:
            shown = inside * self._object_cells(reference, boxes, side=side)
            cosines = torch.einsum("rne,re->rn", head.embed(patches)[owner], target)
            share = shown / shown.sum(dim=1, keepdim=True).clamp(min=1)
            seen = shown.any(dim=1)
            loss = loss + self.dense_weight * (1 - (share * cosines).sum(dim=1))[seen].mean()
        return loss

    @torch.no_grad()
    def _object_cells(self, reference: Tensor, boxes: Tensor, *, side: int) -> Tensor:
        """Which of side x side cells the SAM teacher's mask for each box fills: float [R,n]."""
        corners = torch.tensor([[2, 3]], dtype=torch.int32, device=boxes.device)
        masks, _ = self.sam.decode(
            reference, boxes.reshape(-1, 2, 2), corners.expand(len(boxes), -1), None
        )
        covered = F.adaptive_avg_pool2d((masks[:, :1] > 0).float(), side)
        return (covered.flatten(1) >= 0.5).float()


def _cells_inside(boxes: Tensor, *, size_px: int, side: int) -> Tensor:
    """Which of side x side cells a box XYXY [R,4] touches by its middle: float [R,side*side].

    The cell that holds the box's own centre always counts.
    """
    low, high = boxes[:, :2] * side / size_px, boxes[:, 2:] * side / size_px
    centre = ((low + high) / 2).clamp(max=side - 1e-3)
    cell = torch.arange(side, device=boxes.device).view(1, -1, 1)
    hit = (cell + 0.5 >= low.unsqueeze(1)) & (cell + 0.5 <= high.unsqueeze(1))
    hit |= cell == centre.unsqueeze(1).floor()
    x, y = hit.float().unbind(-1)
    return (y[:, :, None] * x[:, None, :]).flatten(1)
