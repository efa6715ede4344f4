"""The loss of the proposal head, and how many things it finds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.image.suppression import Boxes, suppress
from samclip_sdk.modeling.proposal_head import boxes_of, by_anchor

MAX_PROPOSALS = 30
"""Boxes of an image that are looked at."""

FOUND_IOU = 0.5
"""The IoU from which a box is that of a thing."""

SAME_IOU = 0.7
"""The IoU from which two boxes are of one thing."""

_LOOKED_AT = 300  # boxes among which equal ones are looked for
_BOXES = 2.0  # weight of the boxes beside the objectness, as in GFL
_MIN = 0.1  # share of a box with which an anchor still learns it


class ProposalLoss(nn.Module):
    """Quality focal loss of the objectness, and GIoU loss of the boxes (GFL, arXiv:2006.04388).

    The objectness of an anchor that proposes a thing learns the IoU of its box, any other 0.
    Boxes weigh as much as their IoU: what is near already becomes exact.
    """

    def forward(
        self, proposals: Tensor, assigned: Tensor, boxes: Tensor, background: Tensor
    ) -> Tensor:
        """Computes the loss of a batch.

        Args:
            proposals: [B,30,g,g].
            assigned: int64 [B,6,g,g], the true box of each anchor, -1 for none.
            boxes: float32 [T,4].
            background: float32 [B,6,g,g], weights of the anchors with -1.

        Returns:
            A scalar.
        """
        logits, positive = by_anchor(proposals.float())[:, 0], assigned >= 0
        found, _ = boxes_of(proposals)
        iou, giou = overlaps(found[positive], boxes[assigned[positive]])
        quality = torch.zeros_like(logits)
        quality[positive] = iou.detach()
        entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
        weight = torch.where(positive, 1.0, background)
        focal = weight * (logits.sigmoid() - quality).square() * entropy
        objectness = focal.sum() / positive.sum().clamp(min=len(proposals))
        near = iou.detach().clamp(min=_MIN)
        return objectness + _BOXES * (near * (1 - giou)).sum() / near.sum().clamp(min=1)


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The IoU and the generalised IoU (arXiv:1902.09630) of boxes XYXY [...,4] and [...,4]."""
    low, high = torch.maximum(boxes, others), torch.minimum(boxes, others)
    shared = _area(torch.cat([low[..., :2], high[..., 2:]], dim=-1))
    union = _area(boxes) + _area(others) - shared
    around = _area(torch.cat([high[..., :2], low[..., 2:]], dim=-1))
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (around - union) / around.clamp(min=1e-6)


def best_boxes(
    boxes: Tensor, scores: Tensor, *, maximum: int = MAX_PROPOSALS
) -> tuple[Tensor, Tensor]:
    """The best of boxes [N,4] by their scores [N]; of those of one thing (`SAME_IOU`) the best.

    Returns:
        Boxes [n,4] and scores [n], the best first, n <= `maximum`.
    """
    scores, order = scores.topk(min(_LOOKED_AT, len(scores)))
    boxes = boxes[order]
    compared = Boxes(boxes.float().cpu().numpy())
    kept = suppress(compared, range(len(boxes)), same_iou=SAME_IOU, at_most=maximum)
    return boxes[kept], scores[kept]


@torch.no_grad()
def proposal_recall(proposals: Tensor | None, batch: dict[str, Tensor]) -> Tensor:
    """Which things of a batch have a proposal among the best of their image: float [T], 0 or 1.

    In the padding nothing is proposed.

    Args:
        proposals: [B,30,g,g]; None tells of no thing.
        batch: of `JointBatches`.
    """
    if proposals is None:
        return batch["boxes"].new_zeros(0)
    boxes, owners = batch["boxes"], batch["box_owners"]
    found, scores = boxes_of(proposals)
    scores = scores * batch["token_mask"][:, None]
    hit = torch.zeros(len(boxes), device=boxes.device)
    for image in sorted({*owners.tolist()}):
        best, _ = best_boxes(found[image].flatten(0, 2), scores[image].flatten())
        own = owners == image
        iou, _ = overlaps(boxes[own][:, None], best[None])
        hit[own] = (iou.amax(dim=1) >= FOUND_IOU).float()
    return hit


def encode(encoder: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """An image encoder's tokens, embeddings and proposals; None of these without a head."""
    tokens, embeddings, *rest = encoder(images)
    return tokens, embeddings, rest[0] if rest else None


def _area(boxes: Tensor) -> Tensor:
    """The areas of boxes XYXY, nothing of those that are inside out."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
