"""Teaches a checkpoint's mask decoder what text-to-mask asks it (paper section 4.4; ours).

The paper asks a decoder that never saw a score map. Here it learns to read the maps of its own CLIP
head, of photographs whose masks have names, and goes on with prompts of users beside that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.modeling.build import SamClipModel
from training.tasks.contact_sheet import draw_contact_sheet
from training.tasks.label_prompts import ask_for_labels, disturbed, frame_of
from training.tasks.losses import MultimaskLoss, mask_iou
from training.tasks.tasks import SHEET_ROWS, SamTeacherTask, Task, first_prompts
from training.teachers.small import SmallSam

_LEAST = 30.0  # squares of `CELL_PX` that a name must cover to be asked for
_AFTER_TOKENS = ("lateral_8", "lateral_16", "lateral_32", "mix", "neck")  # of image encoders


class _Asked(NamedTuple):
    """K labels of each of B photographs: what the SDK would ask the decoder, and the truth.

    `coords` float32 [B*K,P,2], `labels` int32 [B*K,P], `mask_input` float32 [B*K,1,4g,4g] and
    `targets` float32 [B*K,4g,4g]; `shown` and `absent` bool [B*K], which labels are known to be
    there, and not to be.
    """

    coords: Tensor
    labels: Tensor
    mask_input: Tensor
    targets: Tensor
    shown: Tensor
    absent: Tensor


class RefinementTask(Task):
    """The prompt encoder, the mask decoder and the neck before them; the CLIP head sees no change.

    Each photograph is asked for a part of names that it shows, with its box, its points and the
    name's score map, as the SDK asks. Its own pictures a CLIP head knows better than others, so
    each map is disturbed first. Some are asked for by one of their parts, as single objects are:
    then the label's connected regions that the box touches are to be drawn, else all of it. Parts
    where the label is not, and names that the photograph does not show, teach the predicted IoU
    alone: whatever mask they get is worth nothing.

    Args:
        student: a merged model.
        dataset: with `named`, of `LabelledCells` with squares of `CELL_PX`, and `scenes`, of D_SAM.
        names: float32 [V,E], text embeddings of the names that batches number.
        calibration: of the student's scores.
        labels: how many names each photograph is asked for.
        validation: likewise, never trained on.
    """

    losses = ("texts", "prompts")
    metrics = ("text_miou", "box_miou", "point_miou")
    names: Tensor

    def __init__(
        self,
        student: SamClipModel,
        dataset: Dataset[Any],
        *,
        names: Tensor,
        calibration: Calibration,
        labels: int,
        validation: Dataset[Any] | None,
    ) -> None:
        encoder = student.image_encoder
        student.requires_grad_(False)
        neck = {name: child for name, child in encoder.named_children() if name in _AFTER_TOKENS}
        parts = {
            "neck": nn.ModuleDict(neck),
            "prompt_encoder": student.prompt_encoder,
            "mask_decoder": student.mask_decoder,
        }
        super().__init__(dataset, parts, validation=validation)
        self.student = student
        self.sam = SmallSam(student)
        self.prompted = SamTeacherTask(self.sam, dataset, validation=None)
        self.register_buffer("names", names, persistent=False)
        self.calibration = calibration
        self.labels = labels
        self.mask_loss = MultimaskLoss()

    def forward(self, batch: dict[str, dict[str, Tensor]], *, loss: str, step: int) -> Tensor:
        """One of the two losses.

        Args:
            batch: `named` and `scenes`.
            loss: `texts`, or `prompts`: the SAM teacher's own.
            step: as of the SAM teacher.
        """
        if loss == "prompts":
            prompted: Tensor = self.prompted(batch["scenes"], loss="multimask", step=step)
            return prompted
        masks, iou, asked = self._answer(batch["named"], disturb=True)
        total = (iou[asked.absent] ** 2).sum() / iou.numel()
        if asked.shown.any():
            shown = (each[asked.shown] for each in (masks, iou, asked.targets))
            total = total + self.mask_loss(*shown)
        return total

    def count_images(self, batch: dict[str, dict[str, Tensor]]) -> int:
        """How many photographs and scenes a batch holds."""
        return sum(len(each["images"]) for each in batch.values())

    def count_broken(self, batch: dict[str, dict[str, Tensor]]) -> int:
        """How many records were broken; composed scenes never are."""
        return sum(int(each["broken"].sum()) for each in batch.values() if "broken" in each)

    def measure(self, batch: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        """IoU of the single masks and the true ones, of texts, of boxes and of points."""
        masks, _, asked = self._answer(batch["named"], disturb=False)
        text_ious = mask_iou(masks[asked.shown, 0], asked.targets[asked.shown])
        return {"text_miou": text_ious, **self.prompted.measure(batch["scenes"])}

    def draw(self, batch: dict[str, dict[str, Tensor]]) -> np.ndarray:
        """The first label of each photograph: its points, the truth, its score map and the mask."""
        named = batch["named"]
        masks, _, asked = self._answer(named, disturb=False)
        first = first_prompts({"images": named["images"], "point_coords": asked.coords})
        columns = (asked.targets - 0.5, asked.mask_input[:, 0], masks[:, 0])
        return draw_contact_sheet(
            named["images"][:SHEET_ROWS],
            asked.coords[first],
            asked.labels[first],
            masks=[each[first] for each in columns],
        )

    def _answer(self, named: dict[str, Tensor], *, disturb: bool) -> tuple[Tensor, Tensor, _Asked]:
        """Mask logits [B*K,4,4g,4g] and predicted IoUs [B*K,4] of labels, and what was asked."""
        tokens, embeddings = self.student.image_encoder(named["images"])
        with torch.no_grad():
            patches = self.student.clip_head(tokens, named["token_mask"])[0]
        asked = self._ask(named, patches.float(), disturb=disturb)
        masks, iou = self.sam.decode(embeddings, asked.coords, asked.labels, asked.mask_input)
        return masks, iou, asked

    def _ask(self, named: dict[str, Tensor], patches: Tensor, *, disturb: bool) -> _Asked:
        """Draws labels of each photograph and makes their prompts."""
        names, *truth = draw_labels(named, count=self.labels)
        side, size = patches.shape[1], named["images"].shape[-1]
        scores = self.calibration.scale * (
            torch.einsum("bne,bke->bkn", patches, self.names[names]) - self.calibration.bias
        )
        grid = int(side**0.5)
        maps = scores.view(-1, grid, grid)
        if disturb:
            maps = disturbed(maps)
        frames = [frame_of(mask, size) for mask in named["token_mask"].cpu().numpy()]
        every = [frame for frame in frames for _ in range(self.labels)]
        targets, shown, absent = (each.flatten(0, 1) for each in truth)
        prompts, targets = ask_for_labels(maps, targets, frames=every, calibration=self.calibration)
        elsewhere = shown & ~targets.any(dim=2).any(dim=1)
        return _Asked(*prompts, targets, shown & ~elsewhere, absent | elsewhere)


def draw_labels(named: dict[str, Tensor], *, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws labels for each photograph: what it shows, again and again if need be, and one other.

    Where nothing is promised to be absent, there is no other; where nothing is shown, only others.

    Args:
        named: a batch of `LabelledCells`.
        count: K.

    Returns:
        Their names int64 [B,K], targets float32 [B,K,h,h], and which are there, and which are not,
        bool [B,K] each; neither of a photograph that nothing is known of.
    """
    coverage = named["coverage"].float()
    there = named["masked"] & (coverage.sum(dim=(2, 3)) >= _LEAST)
    names = coverage.new_zeros((len(coverage), count), dtype=torch.int64)
    targets = coverage.new_zeros((len(coverage), count, *coverage.shape[2:]))
    shown, absent = (torch.zeros_like(names, dtype=torch.bool) for _ in range(2))
    for row in range(len(coverage)):
        present, gone = (_shuffled(flags[row]) for flags in (there, named["absent"]))
        kept = 0
        if len(present):
            kept = count - 1 if len(gone) else count
            present = present[torch.arange(kept) % len(present)]
            names[row, :kept] = named["names"][row, present]
            targets[row, :kept] = coverage[row, present]
            shown[row, :kept] = True
        if len(gone):
            names[row, kept:] = gone[torch.arange(count - kept) % len(gone)]
            absent[row, kept:] = True
    return names, targets, shown, absent


def _shuffled(flags: Tensor) -> Tensor:
    """The places of what is true among flags [N], in random order."""
    places = flags.nonzero().flatten()
    return places[torch.randperm(len(places))]
