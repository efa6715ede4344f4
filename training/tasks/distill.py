"""The merge (paper section 3.2): the student imitates a CLIP and a SAM at once."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.ops import roi_align

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.clip_head import ClipHead, max_pool
from training.errors import TrainingError
from training.tasks.contact_sheet import draw_contact_sheet
from training.tasks.losses import (
    CosineDistillation,
    DenseDistillation,
    MaskDistillation,
    mask_iou,
)
from training.tasks.mask_prompts import coarse_mask_prompt
from training.tasks.tasks import SHEET_ROWS, Task, first_prompts, iou_by_prompt, top1
from training.teachers.small import (
    ClipTeacher,
    SamTeacher,
    SmallSam,
)


class LossWeights(NamedTuple):
    """The weights of the merge's losses; that of CLIP's embeddings is 1.

    Attributes:
        sam: lambda, the weight of SAM's loss.
        region: the weight of the regions' loss.
        dense: the weight of the patches' loss in regions.
    """

    sam: float
    region: float = 0.0
    dense: float = 0.0

    @property
    def need_scenes(self) -> bool:
        """Whether a loss needs scenes and the SAM teacher."""
        return bool(self.sam or self.region)


class DistillTask(Task):
    """The merge: the student imitates both teachers, and sees no label and no true mask.

    A step has two losses: images against CLIP's embeddings, then scenes against SAM's masks for
    the same prompts (and regions of them against CLIP, which is ours). The text encoder is not
    trained: it stays the CLIP teacher's.

    Args:
        dataset: batches of `images` and perhaps `scenes`.
        sam: the SAM teacher; None if no loss needs it.
        weights: the losses' weights.
        classes: text embeddings [N,E] of the nouns in validation images, for `measure`.

    Raises:
        TrainingError: the regions' loss has a weight, and the student's CLIP head is not a ViT's.
    """

    classes: Tensor
    sam: SamTeacher

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        clip: ClipTeacher,
        sam: SamTeacher | None,
        weights: LossWeights,
        validation: Dataset[Any] | None,
        classes: Tensor | None,
    ) -> None:
        parts = dict(student.named_children())
        del parts["text_encoder"]
        super().__init__(dataset, parts, validation=validation)
        self.register_buffer("classes", classes, persistent=False)
        self.losses = ("clip", "scenes") if weights.need_scenes else ("clip",)
        self.metrics = (
            "clip_cosine",
            *(() if classes is None else ("top1",)),
            *(("box_miou", "point_miou") if len(self.losses) > 1 else ()),
        )
        student.text_encoder.requires_grad_(False)
        self.student = student
        self.student_sam = SmallSam(student)
        self.clip = clip
        if sam is not None:
            self.sam = sam
        self.weights = weights
        if weights.region and not isinstance(student.clip_head, ClipHead):
            raise TrainingError("region_weight needs the CLIP head of a ViT: set it to 0")
        self.embedding_loss = CosineDistillation()
        self.mask_loss = MaskDistillation()
        self.dense_loss = DenseDistillation()

    def forward(self, batch: dict[str, dict[str, Tensor]], *, loss: str, step: int) -> Tensor:
        """Computes one of the two losses, `clip` of `images` or `scenes`.

        Odd steps have mask prompts, made of the teacher's own masks.
        """
        if loss == "clip":
            return self._clip_loss(batch["images"])
        scenes = batch["scenes"]
        with torch.no_grad():
            reference = self.sam.encode(scenes["images"])
        tokens, embeddings, *_ = self.student.image_encoder(scenes["images"])
        total: Tensor = tokens.new_zeros((), dtype=torch.float32)
        if self.weights.sam:
            sam_loss = self._sam_loss(scenes, embeddings, reference, with_mask=bool(step % 2))
            total = total + self.weights.sam * sam_loss
        if self.weights.region:
            total = total + self._region_loss(scenes, tokens, reference)
        return total

    def count_images(self, batch: dict[str, dict[str, Tensor]]) -> int:
        """Returns the number of images and scenes in a batch."""
        return sum(super(DistillTask, self).count_images(each) for each in batch.values())

    def count_broken(self, batch: dict[str, dict[str, Tensor]]) -> int:
        """Returns the number of broken records that were replaced in a batch."""
        return sum(super(DistillTask, self).count_broken(each) for each in batch.values())

    def measure(self, batch: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        """Measures what is learned, and what is forgotten.

        `clip_cosine` is each image's cosine with the CLIP teacher, and `top1` the zero-shot
        accuracy on images of one known noun. `box_miou` and `point_miou` are the IoUs of the
        student's and the SAM teacher's single masks.
        """
        images, values = batch["images"], {}
        tokens, *_ = self.student.image_encoder(images["images"])
        embeddings = self.student.clip_head(tokens, images["token_mask"])[1]
        target = self._target(images)
        values["clip_cosine"] = (embeddings * target).sum(dim=1)
        if "top1" in self.metrics:
            values["top1"] = top1(embeddings, classes=self.classes, nouns=images["nouns"])
        if "box_miou" in self.metrics:
            scenes = batch["scenes"]
            reference, masks = self._single_masks(scenes)
            values |= iou_by_prompt(mask_iou(masks, reference.sigmoid()), scenes["point_labels"])
        return values

    def draw(self, batch: dict[str, dict[str, Tensor]]) -> np.ndarray | None:
        """Draws the first prompt of each scene, the SAM teacher's mask and the student's mask."""
        if "box_miou" not in self.metrics:
            return None
        scenes = batch["scenes"]
        first = first_prompts(scenes)
        return draw_contact_sheet(
            scenes["images"][:SHEET_ROWS],
            scenes["point_coords"][first],
            scenes["point_labels"][first],
            masks=[each[first] for each in self._single_masks(scenes)],
        )

    def _single_masks(self, scenes: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns token 0's mask logits [B*K,h,w] of the teacher and of the student."""
        coords, labels = scenes["point_coords"], scenes["point_labels"]
        reference, _ = self.sam.decode(self.sam.encode(scenes["images"]), coords, labels, None)
        embeddings = self.student_sam.encode(scenes["images"])
        masks, _ = self.student_sam.decode(embeddings, coords, labels, None)
        return reference[:, 0], masks[:, 0]

    @torch.no_grad()
    def _target(self, images: dict[str, Tensor]) -> Tensor:
        """Returns the CLIP teacher's embeddings [B,E], from its cache if the batch has them."""
        if "teacher_embeddings" in images:
            return images["teacher_embeddings"].float()
        return self.clip.embed_images(images["images"])

    def _clip_loss(self, images: dict[str, Tensor]) -> Tensor:
        target = self._target(images)
        tokens, *_ = self.student.image_encoder(images["images"])
        head = self.student.clip_head
        if isinstance(head, ClipHead):  # no patch need be embedded
            embeddings = head.embed(max_pool(*head.encode(tokens, images["token_mask"])))
        else:
            embeddings = head(tokens, images["token_mask"])[1]
        clip_loss: Tensor = self.embedding_loss(embeddings, target)
        return clip_loss

    def _sam_loss(
        self,
        scenes: dict[str, Tensor],
        embeddings: Tensor,
        reference: Tensor,
        *,
        with_mask: bool,
    ) -> Tensor:
        """Compares student and teacher on the same prompts, from embeddings [B,D,g,g] of both."""
        coords, labels = scenes["point_coords"], scenes["point_labels"]
        mask_input = None
        with torch.no_grad():
            masks, iou = self.sam.decode(reference, coords, labels, None)
            if with_mask:
                mask_input = coarse_mask_prompt(masks[:, 0])
                masks, iou = self.sam.decode(reference, coords, labels, mask_input)
        student_masks, student_iou = self.student_sam.decode(embeddings, coords, labels, mask_input)
        sam_loss: Tensor = self.mask_loss(student_masks, student_iou, masks, iou)
        return sam_loss

    def _region_loss(self, scenes: dict[str, Tensor], tokens: Tensor, reference: Tensor) -> Tensor:
        """Compares CLIP's embedding of a crop with the head's features in this box of the scene.

        The features are pooled over the box's patches. With a dense weight, patches that show the
        same as the crop are compared one by one, too: this trains the dense path.
        """
        head = cast("ClipHead", self.student.clip_head)
        images, boxes = scenes["images"], scenes["regions"]
        owner = torch.arange(len(images), device=images.device)
        owner = owner.repeat_interleave(len(boxes) // len(images))
        with torch.no_grad():
            rois = torch.cat([owner[:, None].float(), boxes], dim=1)
            crops = roi_align(images.float(), rois, self.clip.resolution, aligned=True)
            target = self.clip.embed_images(crops)
        patches, mask = head.encode(tokens, scenes["token_mask"])
        side = int(patches.shape[1] ** 0.5)
        inside = cells_inside(boxes, size_px=images.shape[-1], side=side) * mask[owner]
        pooled = head.embed(max_pool(patches[owner], inside))
        seen = inside.any(dim=1)  # a region in the padding shows nothing
        loss: Tensor = self.weights.region * self.embedding_loss(pooled[seen], target[seen])
        if self.weights.dense:
            inside = inside.view(len(images), -1, side * side)
            shown = shown_cells(inside, self._prompted_cells(scenes, reference, side=side))
            dense = self.dense_loss(head.embed(patches)[owner], target, shown)
            loss = loss + self.weights.dense * dense
        return loss

    @torch.no_grad()
    def _prompted_cells(self, scenes: dict[str, Tensor], reference: Tensor, *, side: int) -> Tensor:
        """Returns the cells under the SAM teacher's mask of each prompt's box: float [B,P,n]."""
        images = len(reference)
        prompts = len(scenes["point_coords"]) // images
        boxes = scenes["regions"].view(images, -1, 4)[:, :prompts].flatten(0, 1)
        corners = torch.tensor([[2, 3]], dtype=torch.int32, device=boxes.device)
        masks, _ = self.sam.decode(
            reference, boxes.reshape(-1, 2, 2), corners.expand(len(boxes), -1), None
        )
        covered = F.adaptive_avg_pool2d((masks[:, :1] > 0).float(), side)
        return (covered >= 0.5).float().view(images, prompts, -1)


def cells_inside(boxes: Tensor, *, size_px: int, side: int) -> Tensor:
    """Returns the cells whose middle a box XYXY [R,4] touches, in pixels: float [R,side*side].

    The cell that holds the box's own centre always counts.
    """
    low, high = boxes[:, :2] * side / size_px, boxes[:, 2:] * side / size_px
    centre = ((low + high) / 2).clamp(max=side - 1e-3)
    cell = torch.arange(side, device=boxes.device).view(1, -1, 1)
    hit = (cell + 0.5 >= low.unsqueeze(1)) & (cell + 0.5 <= high.unsqueeze(1))
    hit |= cell == centre.unsqueeze(1).floor()
    x, y = hit.float().unbind(-1)
    return (y[:, :, None] * x[:, None, :]).flatten(1)


def shown_cells(inside: Tensor, objects: Tensor) -> Tensor:
    """Returns the cells inside each region that show the same as its crop.

    A scene's first regions are around what its prompts ask for: the cells that the object fills.
    The others are anywhere: all their cells, if none of those objects is in them, and else nothing.

    Args:
        inside: cells of each region, float [B,R,n]; R is at least P.
        objects: cells of what each of P prompts asks for, float [B,P,n].

    Returns:
        float [B*R,n].
    """
    prompts = objects.shape[1]
    anywhere = inside[:, prompts:]
    free = ~(anywhere * objects.amax(dim=1, keepdim=True)).any(dim=2, keepdim=True)
    return torch.cat([inside[:, :prompts] * objects, anywhere * free], dim=1).flatten(0, 1)
