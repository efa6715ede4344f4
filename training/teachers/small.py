"""The teachers: frozen models that answer as SAM and as CLIP do, each preprocessing its own way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.clip_text_encoder import ClipTextEncoder
from samclip_sdk.modeling.config import ClipTextConfig, ModelConfig
from training.errors import TrainingError
from training.teachers.weights import give_weights, read_weights

_PIXEL_MEAN, _PIXEL_STD = 127.5, 63.75


class ClipTeacher(Protocol):
    """The CLIP teacher of a distillation.

    Attributes:
        resolution: side of an image that it works at.
        embed_dim: E.
    """

    resolution: int
    embed_dim: int

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds images [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        ...


class SamTeacher(Protocol):
    """The SAM teacher of a distillation; `SmallSam` has the shapes."""

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images as image_embeddings."""
        ...

    def decode(
        self, embeddings: Tensor, coords: Tensor, labels: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decodes K prompts an image, as mask logits and predicted IoUs."""
        ...


class SmallClip(nn.Module):
    """A small CLIP: a timm image tower, and the text tower that the merged model will inherit."""

    def __init__(self, config: ModelConfig, *, image_tower: str, resolution: int) -> None:
        super().__init__()
        if not isinstance(config.text_encoder, ClipTextConfig):
            raise TrainingError(
                f"the small CLIP trains a text encoder of the kind clip, and {config.name} has one "
                f"of the kind {config.text_encoder.kind}: train that with the task text_encoder"
            )
        self.resolution = resolution
        self.embed_dim = config.embed_dim
        self.visual = timm.create_model(image_tower, num_classes=config.embed_dim)
        # Torch's own types know this argument of a tensor's `to` only.
        self.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.text_encoder = ClipTextEncoder(config.text_encoder, embed_dim=config.embed_dim)
        self.text_encoder.load_state_dict(build_model(config).text_encoder.state_dict())
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds images [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        x = images.float()
        if x.shape[-1] != self.resolution:
            side = (self.resolution, self.resolution)
            x = F.interpolate(x, size=side, mode="bilinear", antialias=True)
        return F.normalize(self.visual(self.normalise(x)).float(), dim=-1)

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels of images [B,3,S,S], RGB 0..255, as the image tower takes them."""
        x = (images.float() - _PIXEL_MEAN) / _PIXEL_STD
        return x.contiguous(memory_format=torch.channels_last)


class SmallSam(nn.Module):
    """A small SAM: the SAM parts of a merged model."""

    def __init__(self, model: SamClipModel) -> None:
        super().__init__()
        self.image_encoder = model.image_encoder
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images [B,3,S,S], RGB 0..255, as image_embeddings [B,D,g,g]."""
        embeddings: Tensor
        _, embeddings = self.image_encoder(images)
        return embeddings

    def decode(
        self, embeddings: Tensor, coords: Tensor, labels: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decodes K prompts of each of B images.

        The arguments are embeddings [B,D,g,g], coords float [B*K,P,2] in pixels of the S x S image,
        labels int [B*K,P] and logits [B*K,1,4g,4g] of masks, if any.

        Returns:
            Mask logits [B*K,4,4g,4g] and predicted IoUs [B*K,4].
        """
        prompts, grid = len(coords), embeddings.shape[-1]
        has_mask = coords.new_full((prompts,), float(mask_input is not None))
        if mask_input is None:
            mask_input = coords.new_zeros(prompts, 1, 4 * grid, 4 * grid)
        sparse, sparse_mask, dense = self.prompt_encoder(coords, labels, mask_input, has_mask)
        each = embeddings.repeat_interleave(prompts // len(embeddings), dim=0)
        masks, iou = self.mask_decoder(each, sparse, sparse_mask, dense)
        return masks.float(), iou.float()


def load_prompt_parts(sam: SmallSam, path: Path) -> None:
    """Gives a SAM the prompt encoder and the mask decoder of a trained one's file.

    Local blocks that the teacher lacks stay as they begin.

    Raises:
        TrainingError: the file is missing or damaged, or the parts are of other sizes.
    """
    state = read_weights(path)
    for name in ("prompt_encoder", "mask_decoder"):
        own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(name)}
        part = sam.get_submodule(name)
        begun = {key: x for key, x in part.state_dict().items() if "local_blocks." in key}
        give_weights(part, begun | own, path)
