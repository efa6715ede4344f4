"""The losses of the merge (paper section 3.2), as pure modules that know no model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FOCAL = 20.0  # weight of the focal loss beside dice
_ALPHA = 0.25  # of the focal loss


class CosineDistillation(nn.Module):
    """L_CLIP = 1 - cos(student, teacher), averaged over the batch."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps embeddings [B,E] and [B,E], of any length, to a scalar in 0..2."""
        return (1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).mean()


class DenseDistillation(nn.Module):
    """Ours: 1 - cos between each cell that shows what a crop does and the teacher's crop.

    Averaged over the cells of a region, then over the regions that have any.
    """

    def forward(self, student: Tensor, teacher: Tensor, cells: Tensor) -> Tensor:
        """Maps the cells' unit embeddings [R,n,E] and the crops' [R,E] to a scalar in 0..2.

        The cells are those of the scene that a region is in: [R,n], 1 for those that show its crop.
        """
        cosines = torch.einsum("rne,re->rn", student, teacher)
        share = cells / cells.sum(dim=1, keepdim=True).clamp(min=1)
        seen = cells.any(dim=1)
        distances = 1 - (share * cosines).sum(dim=1)
        return (distances * seen).sum() / seen.sum().clamp(min=1)


class FocalDice(nn.Module):
    """SAM's mask loss, 20 x focal + 1 x dice, for soft targets.

    SAM's focal loss weighs a pixel's cross-entropy by (1 - p_t)^2, and 1 - p_t is |t - p| for a
    hard target t. That form holds for soft targets too, and is zero where student and target
    agree. The class weight alpha = 0.25 of the focal loss is interpolated likewise:
    alpha t + (1 - alpha) (1 - t). Dice is 1 - (2 sum pt + 1) / (sum p^2 + sum t^2 + 1), per mask:
    with squares, which change nothing of a hard target, a student loses least where it is the
    teacher; without, where its edges are steeper and its masks larger.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Maps logits [...,h,w] and targets in 0..1, [...,h,w], to a loss per mask [...]."""
        logits, target = logits.float(), target.float()
        p = logits.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        weight = _ALPHA * target + (1 - _ALPHA) * (1 - target)
        focal = (weight * (target - p).square() * entropy).mean(dim=(-2, -1))
        overlap = 2 * (p * target).sum(dim=(-2, -1)) + 1
        dice = 1 - overlap / ((p.square() + target.square()).sum(dim=(-2, -1)) + 1)
        return _FOCAL * focal + dice


class MultimaskLoss(nn.Module):
    """SAM's training loss against a true mask: token 0, plus the best of tokens 1 to 3.

    Only the best of the three is trained, so that they can answer an ambiguous prompt
    differently. The predicted IoUs of all four are trained towards the measured ones.

    Args:
        points: how many pixels of each mask the loss looks at, those of which it is least certain
            before others (`uncertain_points`); None for all.
    """

    def __init__(self, *, points: int | None = None) -> None:
        super().__init__()
        self.points = points
        self.mask_loss = FocalDice()

    def forward(self, logits: Tensor, iou_predictions: Tensor, target: Tensor) -> Tensor:
        """Maps logits [K,4,h,w], IoUs [K,4] and true masks in 0..1, [K,h,w], to a scalar."""
        target = target.unsqueeze(1).expand_as(logits)
        iou = F.mse_loss(iou_predictions.float(), mask_iou(logits, target), reduction="none")
        if self.points is not None:
            indices = uncertain_points(logits, count=self.points)
            logits, target = (
                each.flatten(2).gather(2, indices).unsqueeze(2) for each in (logits, target)
            )
        per_token: Tensor = self.mask_loss(logits, target)
        masks = per_token[:, 0] + per_token[:, 1:].amin(dim=1)
        return (masks + iou.mean(dim=1)).mean()


@torch.no_grad()
def uncertain_points(logits: Tensor, *, count: int) -> Tensor:
    """Draws n pixels of masks [...,h,w], three in four of them near the edges, as in PointRend.

    Of three times as many random pixels those whose logits are nearest to 0; a quarter anywhere.

    Returns:
        int64 [...,n], indices in the flattened masks; of smaller masks, all pixels.
    """
    flat = logits.flatten(-2)
    pixels = flat.shape[-1]
    if pixels <= count:
        return torch.arange(pixels, device=logits.device).expand(flat.shape)
    drawn = torch.randint(pixels, (*flat.shape[:-1], 3 * count), device=logits.device)
    near = count - count // 4
    nearest = flat.gather(-1, drawn).abs().topk(near, dim=-1, largest=False).indices
    return torch.cat([drawn.gather(-1, nearest), drawn[..., : count // 4]], dim=-1)


class MaskDistillation(nn.Module):
    """L_SAM: focal + dice of every output mask against the teacher's soft mask.

    The paper names no loss on the predicted IoU, without which it drifts; ours adds the squared
    distance to the teacher's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mask_loss = FocalDice()

    def forward(
        self, logits: Tensor, iou: Tensor, teacher_logits: Tensor, teacher_iou: Tensor
    ) -> Tensor:
        """Maps logits [K,4,h,w] and IoUs [K,4] of student and teacher to a scalar."""
        masks: Tensor = self.mask_loss(logits, teacher_logits.float().sigmoid()).mean()
        return masks + F.mse_loss(iou.float(), teacher_iou.float())


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU [...] of logits > 0 and target > 0.5, both [...,h,w], without gradient."""
    with torch.no_grad():
        predicted, true = logits > 0, target > 0.5
        intersection = (predicted & true).sum(dim=(-2, -1)).float()
        return intersection / (predicted | true).sum(dim=(-2, -1)).clamp(min=1)
