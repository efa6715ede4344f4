"""A merged model as the pair of teachers of another one, which has other sizes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.modeling.config import ModelConfig
from training.resizing import resized
from training.teachers.small import SmallSam
from training.teachers.teacher_pair import check_width


class MergedClip(nn.Module):
    """The CLIP half of a merged model, a `DenseClipTeacher`."""

    def __init__(self, model: SamClipModel) -> None:
        super().__init__()
        self.resolution = model.config.classification_resolution
        self.embed_dim = model.config.embed_dim
        self.patch_size = model.config.image_encoder.patch_size
        self.image_encoder = model.image_encoder
        self.clip_head = model.clip_head

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds pictures [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        side = images.shape[-1] // self.patch_size
        token_mask = torch.ones(len(images), side, side, device=images.device)
        return self.embed_with_cells(images, token_mask)[0]

    def embed_with_cells(self, images: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds letterboxed pictures [B,3,S,S] and their cells: [B,E] and [B,E,g,g]."""
        tokens, _ = self.image_encoder(images)
        patches, pooled = self.clip_head(tokens, token_mask)[:2]
        side = int(patches.shape[1] ** 0.5)
        return pooled, patches.transpose(1, 2).unflatten(2, (side, side))


class MergedPair:
    """Both teachers are one model.

    Args:
        model: the student's.
        checkpoint: the folder of the teachers' model.
    """

    def __init__(self, model: ModelConfig, checkpoint: Path) -> None:
        self.model = model
        self.checkpoint = checkpoint

    @cached_property
    def merged(self) -> SamClipModel:
        """The teachers' model, frozen.

        Raises:
            TrainingError: it embeds in another width than the student.
        """
        merged = load_checkpoint(self.checkpoint).requires_grad_(False)
        check_width(merged.config.embed_dim, teacher=self.checkpoint, model=self.model)
        return merged

    @cached_property
    def clip(self) -> MergedClip:
        """Its CLIP half."""
        return MergedClip(self.merged).eval()

    @cached_property
    def sam(self) -> SmallSam:
        """Its SAM half."""
        return SmallSam(self.merged).eval()

    @property
    def name(self) -> str:
        """The checkpoint's folder."""
        return str(self.checkpoint)

    @property
    def tokenizer(self) -> Path:
        """The `tokenizer.json` of the text encoder."""
        return self.checkpoint / TOKENIZER_NAME

    def stage0(self, *, seed: int) -> SamClipModel:
        """The teachers' model with the sizes of the student's."""
        return resized(load_checkpoint(self.checkpoint), self.model)

    def provenance(self) -> dict[str, Any]:
        """The checkpoint's own."""
        return read_provenance(self.checkpoint)

    def licences(self) -> dict[str, str]:
        """Those that the checkpoint's own teachers are under."""
        found: dict[str, str] = self.provenance().get("licences", {})
        return found
