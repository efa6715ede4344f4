"""The module of `text_to_mask@S`: from the backbone's outputs to the masks of texts, in one graph.

The steps are those of `samclip_sdk.engine.text_to_mask`, in operators that every runtime has. Only
the last step is missing: specks and small holes stay (the edition "one_prompt").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.engine.label_prompts import MASK_PROMPT_LIMIT
from samclip_sdk.engine.queries import POINTS_PER_CLASS
from samclip_sdk.image.model_prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FILLER
from samclip_sdk.modeling.build import SamClipModel

_FOREGROUND = 1
_NOWHERE = -1e4  # a score below all others


class TextToMask(nn.Module):
    """CLIP head, score maps, prompts, mask decoder and the first step of upscaling.

    Args:
        model: the model with these parts; it is not changed.
        info: its calibration and resolution.
    """

    def __init__(self, model: SamClipModel, info: ModelInfo) -> None:
        super().__init__()
        resolution, patch = info.tasks.segmentation.resolution, info.image.patch_size
        grid = resolution // patch
        self.clip_head = model.clip_head.at_resolution(resolution, patch_size=patch)
        self.mark_tokens = MarkTokens(grid, resolution=resolution)
        cells = grid // info.model.token_pooling(resolution)
        self.ask_labels = AskLabels(info, cells=cells, mask_side=4 * grid)
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self.draw_labels = DrawLabels(info)

    def forward(
        self,
        image_tokens: Tensor,
        image_embeddings: Tensor,
        extent: Tensor,
        text_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Segments K labels.

        Args:
            image_tokens: [1,C,h,w], from the image encoder: the upper left of g x g cells.
            image_embeddings: [1,D,h,w], from the image encoder.
            extent: [2], the number of rows and columns of the model's input that the image covers.
            text_embeddings: [K,E], unit length.

        Returns:
            mask_logits [K,S,S] in the model frame, scores [K], presence [K]; the first two have no
            meaning for an absent label.
        """
        rows, columns = image_tokens.shape[-2:]
        token_mask = self.mark_tokens(extent)[:, :rows, :columns]
        patches = self.clip_head(image_tokens, token_mask)[0]
        if rows != columns:
            cells, side = patches.unflatten(1, (rows, columns)), self.ask_labels.cells
            patches = F.pad(cells, (0, 0, 0, side - columns, 0, side - rows)).flatten(1, 2)
        *prompts, presence = self.ask_labels(patches, extent, text_embeddings)
        sparse, mask, dense = self.prompt_encoder(*prompts)
        dense = dense[..., :rows, :columns]
        low_res, iou = self.mask_decoder(image_embeddings, sparse, mask, dense)
        if rows != columns:
            side = self.ask_labels.side
            around = (0, side - 4 * columns, 0, side - 4 * rows)
            low_res = F.pad(low_res, around, mode="replicate")
        return (*self.draw_labels(low_res, iou), presence)


class MarkTokens(nn.Module):
    """Marks the g x g patches that hold any pixel of the image."""

    starts: Tensor

    def __init__(self, side: int, *, resolution: int) -> None:
        super().__init__()
        starts = torch.arange(side, dtype=torch.float32) * (resolution / side)
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, extent: Tensor) -> Tensor:
        """Maps the image's extent [2] to [1,g,g], 1 inside and 0 in the padding."""
        rows, columns = ((self.starts < extent[axis]).float() for axis in (0, 1))
        return (rows[:, None] * columns[None, :])[None]


class AskLabels(nn.Module):
    """Maps patch embeddings and texts to the prompt encoder's inputs and the presence.

    Args:
        info: the calibration.
        cells: h, the side of a score map.
        mask_side: 4g, the side of a mask prompt.
    """

    def __init__(self, info: ModelInfo, *, cells: int, mask_side: int) -> None:
        super().__init__()
        self.calibration = info.calibration
        self.cells, self.side = cells, mask_side
        self.step_px = info.tasks.segmentation.resolution / cells
        self.mark_cells = MarkTokens(cells, resolution=info.tasks.segmentation.resolution)
        self.mark_pixels = MarkTokens(mask_side, resolution=info.tasks.segmentation.resolution)
        indices = torch.arange(cells * cells, dtype=torch.float32)
        self.register_buffer("indices", indices, persistent=False)

    indices: Tensor

    def forward(
        self, patch_embeddings: Tensor, extent: Tensor, text_embeddings: Tensor
    ) -> tuple[Tensor, ...]:
        """Makes the prompts of K labels.

        Args:
            patch_embeddings: [1,h*h,E].
            extent: [2].
            text_embeddings: [K,E].

        Returns:
            point_coords [K,5,2], point_labels int32 [K,5], mask_input [K,1,4g,4g], has_mask_input
            [K]; presence [K].
        """
        own, side = self.calibration, self.cells
        scores = own.scale * (text_embeddings @ patch_embeddings[0].transpose(0, 1) - own.bias)
        inside = self.mark_cells(extent)
        seen = torch.where(inside.flatten(1) > 0, scores, torch.full_like(scores, _NOWHERE))
        presence = seen.amax(dim=1).sigmoid()
        parts = self._parts(seen).view(-1, side, side)
        points, kinds = self._points(seen, parts.flatten(1), extent)
        corners = self._corners(parts, extent)
        box = [torch.full_like(kinds[:, :1], kind) for kind in (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)]
        maps = scores.view(-1, 1, side, side)
        return (
            torch.cat([points, corners], dim=1),
            torch.cat([kinds, *box], dim=1).to(torch.int32),
            self._mask(own.prompt_scale * maps, inside, extent),
            torch.ones_like(presence),
            presence,
        )

    def _parts(self, seen: Tensor) -> Tensor:
        """Marks the cells [K,h*h] that belong to a part of the label: 1 or 0.

        Parts grow from the cells in which the label is present to neighbours above a threshold, by
        one cell in each of h rounds.
        """
        own, side = self.calibration, self.cells
        odds = seen.sigmoid()
        best = (self.indices == seen.argmax(dim=1, keepdim=True).float()).float()
        enough = torch.maximum((odds > own.mask_threshold_score).float(), best)
        reached = torch.maximum(enough * (odds >= own.presence_threshold).float(), best)
        enough, reached = (each.view(-1, 1, side, side) for each in (enough, reached))
        for _ in range(side):
            around = F.max_pool2d(F.pad(reached, (1, 1, 1, 1)), kernel_size=3, stride=1)
            reached = around * enough
        return reached.flatten(1)

    def _points(self, seen: Tensor, parts: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
        """The best cells of the parts [K,3,2] and their kinds [K,3].

        If two cells are equal, the first one is better. The rule is `points_and_box` of
        `samclip_sdk/engine/label_points.py`.
        """
        left = torch.where(parts > 0, seen, torch.full_like(seen, _NOWHERE))
        points, kinds = [], []
        for _ in range(POINTS_PER_CLASS):
            index = left.argmax(dim=1, keepdim=True).float()
            there = left.amax(dim=1, keepdim=True) > _NOWHERE / 2
            row = torch.floor((index + 0.5) / self.cells)
            points.append(torch.stack([index - row * self.cells, row], dim=-1))
            foreground = torch.full_like(index, _FOREGROUND)
            kinds.append(torch.where(there, foreground, torch.full_like(index, FILLER)))
            left = torch.where(self.indices == index, torch.full_like(left, _NOWHERE), left)
        centres = (torch.cat(points, dim=1) + 0.5) * self.step_px - 0.5
        return torch.minimum(centres, _last(extent) - 1), torch.cat(kinds, dim=1)

    def _corners(self, parts: Tensor, extent: Tensor) -> Tensor:
        """The box [K,2,2] around all parts [K,h,h], inside the image."""
        indices = self.indices[: self.cells]
        firsts, lasts = [], []
        for axis in (1, 2):  # a column is reached if any of its rows is
            reached = parts.amax(dim=axis) > 0
            after = torch.full_like(parts[:, 0], self.cells)
            firsts.append(torch.where(reached, indices, after).amin(dim=1))
            lasts.append(torch.where(reached, indices + 1, torch.zeros_like(after)).amax(dim=1))
        corners = torch.stack([torch.stack(each, dim=1) for each in (firsts, lasts)], dim=1)
        return torch.minimum(corners * self.step_px, _last(extent))

    def _mask(self, maps: Tensor, inside: Tensor, extent: Tensor) -> Tensor:
        """Maps score maps [K,1,h,h] to mask prompts [K,1,4g,4g]."""
        clipped = maps.clamp(-MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)
        # The image's last row and column are repeated into the padding by matrix products, because
        # not every runtime has a gather with computed indices.
        rows, columns = (_repeat_last(inside.amax(dim=axis)[0]) for axis in (2, 1))
        extended = rows @ clipped @ columns.transpose(0, 1)
        prompt = F.interpolate(extended, size=(self.side, self.side), mode="bilinear")
        padding = torch.full_like(prompt, -MASK_PROMPT_LIMIT)
        return torch.where(self.mark_pixels(extent)[None] > 0, prompt, padding)


class DrawLabels(nn.Module):
    """Brings the mask decoder's masks to the size of the model's input."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        self.bias = info.calibration.mask_bias
        self.resolution = info.tasks.segmentation.resolution

    def forward(self, low_res_masks: Tensor, iou_predictions: Tensor) -> tuple[Tensor, Tensor]:
        """Makes the masks of K labels.

        Args:
            low_res_masks: [K,4,4g,4g].
            iou_predictions: [K,4].

        Returns:
            mask_logits [K,S,S] and scores [K].
        """
        logits = low_res_masks[:, :1] + self.bias
        size = (self.resolution, self.resolution)
        return F.interpolate(logits, size=size, mode="bilinear")[:, 0], iou_predictions[:, 0]


def _last(extent: Tensor) -> Tensor:
    """The extent (rows, columns) as a point (x, y)."""
    return torch.stack([extent[1], extent[0]])


def _repeat_last(inside: Tensor) -> Tensor:
    """The matrix [h,h] that copies the last inside cell, at the end of a prefix, over the rest."""
    indices = torch.arange(len(inside), dtype=inside.dtype)
    chosen = torch.minimum(indices, inside.sum() - 1)
    return (chosen[:, None] == indices[None, :]).to(inside.dtype)
