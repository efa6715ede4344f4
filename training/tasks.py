"""What is trained, on what, against what: the loop knows a `Task` and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

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
from training.teachers import SmallClip, SmallSam, coarse_mask_prompt


class Task(Protocol):
    """A model in training, with its data and its losses."""

    dataset: Dataset[Any]

    def parts(self) -> dict[str, nn.Module]:
        """The parts that can be trained, by the names that learning rates go by."""
        ...

    def losses(self, batch: Any, *, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yields named losses; each is walked backward before the next is computed."""
        ...


class ClipTeacherTask:
    """Contrastive training of the small CLIP: each picture against every noun's caption.

    A batch would hold a noun twice, so pictures are contrasted with one caption a noun instead of
    with one another's; a picture of several nouns has several right answers. The text tower is
    held near MiniLM's sentence embeddings, which places synonyms and nouns without a drawing.
    """

    def __init__(
        self,
        clip: SmallClip,
        dataset: Dataset[Any],
        captions: Captions,
        *,
        text_weight: float,
        text_only_steps: int,
    ) -> None:
        self.clip = clip
        self.dataset = dataset
        self.captions = captions
        self.text_weight = text_weight
        self.text_only_steps = text_only_steps

    def parts(self) -> dict[str, nn.Module]:
        """The whole CLIP is one part."""
        return {"clip": self.clip}

    def losses(self, batch: dict[str, Tensor], *, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yields `text` alone for the first `text_only_steps`, then `contrast`, text included.

        Args:
            batch: of `PictureBatches`: `images` and `nouns`.
            step: seeds the captions.
        """
        rng = np.random.default_rng([step, 3])
        ids, sentences, has_sentence = self.captions.draw(rng, extra=64)
        texts = self.clip.text_encoder(ids)
        near = 1 - (texts * sentences).sum(dim=1)[has_sentence].mean()
        if step < self.text_only_steps:
            yield "text", self.text_weight * near
            return
        seen = batch["nouns"]
        right = torch.cat([seen, ~seen.any(dim=1, keepdim=True)], dim=1).float()
        right = right / right.sum(dim=1, keepdim=True)
        images = self.clip.embed_images(batch["images"])
        logits = self.clip.logit_scale.exp().clamp(max=100) * images @ texts[: right.shape[1]].T
        contrast = F.cross_entropy(logits, right, label_smoothing=0.05)
        yield "contrast", contrast + self.text_weight * near


class SamTeacherTask:
    """SAM's own training on composed scenes: half of the prompts come with a coarse mask."""

    def __init__(self, sam: SmallSam, dataset: Dataset[Any]) -> None:
        self.sam = sam
        self.dataset = dataset
        self.loss = MultimaskLoss()

    def parts(self) -> dict[str, nn.Module]:
        """SAM's three parts."""
        return {
            "image_encoder": self.sam.image_encoder,
            "prompt_encoder": self.sam.prompt_encoder,
            "mask_decoder": self.sam.mask_decoder,
        }

    def losses(self, batch: dict[str, Tensor], *, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yields `multimask`.

        Args:
            batch: of `SceneBatches`: `images`, prompts and `targets`.
            step: odd steps come with a mask prompt.
        """
        coords, labels, targets = batch["point_coords"], batch["point_labels"], batch["targets"]
        _, embeddings = self.sam.encode(batch["images"])
        mask_input = None
        if step % 2:
            mask_input = coarse_mask_prompt(torch.logit(targets.float(), eps=1e-4))
        masks, iou = self.sam.decode(embeddings, coords, labels, mask_input)
        yield "multimask", self.loss(masks, iou, targets)


class DistillTask:
    """The merge: the student imitates both teachers and sees no label and no true mask.

    Two losses a step, accumulated: pictures against CLIP's embeddings, then scenes against SAM's
    masks for the same prompts (and regions of them against CLIP, ours).
    """

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        clip: SmallClip,
        sam: SmallSam,
        sam_weight: float,
        region_weight: float,
        dense_weight: float,
    ) -> None:
        self.student = student
        self.student_sam = SmallSam(student)
        self.dataset = dataset
        self.clip = clip
        self.sam = sam
        self.sam_weight = sam_weight
        self.region_weight = region_weight
        self.dense_weight = dense_weight
        self.embedding_loss = CosineDistillation()
        self.mask_loss = MaskDistillation()

    def parts(self) -> dict[str, nn.Module]:
        """The student's parts but the text encoder, which stays the CLIP teacher's."""
        return {
            "image_encoder": self.student.image_encoder,
            "clip_head": self.student.clip_head,
            "prompt_encoder": self.student.prompt_encoder,
            "mask_decoder": self.student.mask_decoder,
        }

    def losses(
        self, batch: dict[str, dict[str, Tensor]], *, step: int
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields `clip`, then `scenes` where the batch has any.

        Args:
            batch: `pictures` (`images`, `token_mask`) and perhaps `scenes` (those and prompts,
                `regions`).
            step: odd steps come with a mask prompt, drawn from the teacher's own mask.
        """
        yield "clip", self._clip_loss(batch["pictures"])
        if "scenes" not in batch:
            return
        scenes = batch["scenes"]
        tokens, embeddings = self.student.image_encoder(scenes["images"])
        loss = torch.zeros(())
        if self.sam_weight:
            loss = loss + self.sam_weight * self._sam_loss(scenes, embeddings, with_mask=step % 2)
        if self.region_weight:
            loss = loss + self._region_loss(scenes, tokens)
        yield "scenes", loss

    def _clip_loss(self, pictures: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            target = self.clip.embed_images(pictures["images"])
        tokens, _ = self.student.image_encoder(pictures["images"])
        patches, mask = self.student.clip_head.encode(tokens, pictures["token_mask"])
        return self.embedding_loss(self.student.clip_head.embed(max_pool(patches, mask)), target)

    def _sam_loss(self, scenes: dict[str, Tensor], embeddings: Tensor, *, with_mask: int) -> Tensor:
        coords, labels = scenes["point_coords"], scenes["point_labels"]
        mask_input = None
        with torch.no_grad():
            _, reference = self.sam.encode(scenes["images"])
            masks, iou = self.sam.decode(reference, coords, labels, None)
            if with_mask:
                mask_input = coarse_mask_prompt(masks[:, 0])
                masks, iou = self.sam.decode(reference, coords, labels, mask_input)
        student_masks, student_iou = self.student_sam.decode(embeddings, coords, labels, mask_input)
        return self.mask_loss(student_masks, student_iou, masks, iou)

    def _region_loss(self, scenes: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """CLIP's embedding of a crop, against the head's features in that box of the scene.

        Twice: pooled over the box's patches, and patch by patch where the SAM teacher sees the
        object that the box holds. The second teaches the dense path, which is never pooled.
        """
        images, boxes = scenes["images"], scenes["regions"]
        owner = torch.arange(len(images)).repeat_interleave(len(boxes) // len(images))
        with torch.no_grad():
            rois = torch.cat([owner[:, None].float(), boxes], dim=1)
            crops = roi_align(images.float(), rois, self.clip.resolution, aligned=True)
            target = self.clip.embed_images(crops)
        head = self.student.clip_head
        patches, mask = head.encode(tokens, scenes["token_mask"])
        side = int(patches.shape[1] ** 0.5)
        inside = _cells_inside(boxes, size_px=images.shape[-1], side=side) * mask[owner]
        pooled = head.embed(max_pool(patches[owner], inside))
        loss = self.region_weight * self.embedding_loss(pooled, target)
        if self.dense_weight:
            shown = inside * self._object_cells(images, boxes, side=side)
            cosines = torch.einsum("rne,re->rn", head.embed(patches)[owner], target)
            share = shown / shown.sum(dim=1, keepdim=True).clamp(min=1)
            seen = shown.any(dim=1)
            loss = loss + self.dense_weight * (1 - (share * cosines).sum(dim=1))[seen].mean()
        return loss

    @torch.no_grad()
    def _object_cells(self, images: Tensor, boxes: Tensor, *, side: int) -> Tensor:
        """Which of side x side cells the SAM teacher's mask for each box fills: float [R,n]."""
        _, embeddings = self.sam.encode(images)
        corners = torch.tensor([[2, 3]], dtype=torch.int32).expand(len(boxes), -1)
        masks, _ = self.sam.decode(embeddings, boxes.reshape(-1, 2, 2), corners, None)
        covered = F.adaptive_avg_pool2d((masks[:, :1] > 0).float(), side)
        return (covered.flatten(1) >= 0.5).float()


def _cells_inside(boxes: Tensor, *, size_px: int, side: int) -> Tensor:
    """Which of side x side cells a box XYXY [R,4] touches by its middle: float [R,side*side].

    The cell that holds the box's own centre always counts.
    """
    low, high = boxes[:, :2] * side / size_px, boxes[:, 2:] * side / size_px
    centre = ((low + high) / 2).clamp(max=side - 1e-3)
    cell = torch.arange(side).view(1, -1, 1)
    hit = (cell + 0.5 >= low.unsqueeze(1)) & (cell + 0.5 <= high.unsqueeze(1))
    hit |= cell == centre.unsqueeze(1).floor()
    x, y = hit.float().unbind(-1)
    return (y[:, :, None] * x[:, None, :]).flatten(1)
