"""The paper's teachers: OpenCLIP and segment-anything, from their own packages and checkpoints.

MobileSAM's authors publish no package: its checkpoint is read into our model of the same sizes.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import open_clip
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_sam
from samclip_sdk.modeling.config import ModelConfig
from training.errors import TrainingError
from training.teachers.small import SmallSam

MOBILE_SAM = "vit_t"
"""MobileSAM's own name of its model."""

_BOX_CORNER = 2  # label of a box's top-left corner; the bottom-right one's is the next


class OpenClip(nn.Module):
    """An OpenCLIP model as the CLIP teacher, with its own size, mean and deviation of pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: open_clip.CLIP) -> None:
        super().__init__()
        self.model = model
        size = model.visual.image_size  # (height, width), or of a square its side
        self.resolution = size if isinstance(size, int) else int(size[0])
        tower = getattr(model, "text", model)  # what has an image tower of timm has it apart
        self.embed_dim = int(tower.text_projection.shape[-1])
        preprocessing = model.visual.preprocess_cfg
        for name in ("mean", "std"):
            values = 255 * torch.tensor(preprocessing[name]).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.interpolation = str(preprocessing["interpolation"])

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds images [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        x = images.float()
        if x.shape[-1] != self.resolution:
            side = (self.resolution, self.resolution)
            x = F.interpolate(x, size=side, mode=self.interpolation, antialias=True).clamp(0, 255)
        embeddings: Tensor = self.model.encode_image((x - self.mean) / self.std)
        return F.normalize(embeddings.float(), dim=-1)


class SegmentAnything(nn.Module):
    """A segment-anything model as the SAM teacher.

    Images come letterboxed to its size with the pad colour, not cropped to what they hold: SAM's
    own zeros after normalising differ from that by .009 at most.
    """

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.model = model

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images [B,3,S,S], RGB 0..255, as image_embeddings [B,D,g,g]."""
        normalised = (images.float() - self.model.pixel_mean) / self.model.pixel_std
        embeddings: Tensor = self.model.image_encoder(normalised)
        return embeddings

    def decode(
        self, embeddings: Tensor, coords: Tensor, labels: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decodes K prompts an image; arguments and results are those of `SmallSam.decode`.

        SAM's decoder takes prompts of one image that are alike in points and boxes: they are
        grouped by that.
        """
        grid, prompts = embeddings.shape[-1], len(coords)
        outputs = self.model.mask_decoder.num_mask_tokens
        masks = embeddings.new_zeros((prompts, outputs, 4 * grid, 4 * grid), dtype=torch.float32)
        iou = embeddings.new_zeros((prompts, outputs), dtype=torch.float32)
        image_of = torch.arange(prompts, device=coords.device) // (prompts // len(embeddings))
        for index, embedding in enumerate(embeddings):
            for kind in torch.unique(labels[image_of == index], dim=0):
                rows = ((image_of == index) & (labels == kind).all(dim=1)).nonzero().flatten()
                masks[rows], iou[rows] = self._decode_alike(
                    embedding[None],
                    coords[rows],
                    kind,
                    None if mask_input is None else mask_input[rows],
                )
        return masks, iou

    def _decode_alike(
        self, embedding: Tensor, coords: Tensor, kind: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decodes prompts [n,P,2] of one image, all with the labels `kind` [P]."""
        points = coords[:, (kind == 0) | (kind == 1)]
        corners = coords[:, (kind == _BOX_CORNER) | (kind == _BOX_CORNER + 1)]
        point_labels = kind[(kind == 0) | (kind == 1)].expand(len(coords), -1)
        prompt_encoder = self.model.prompt_encoder
        # In half precision its features of a point would be off by a pixel.
        with torch.autocast(coords.device.type, enabled=False):
            sparse, dense = prompt_encoder(
                points=(points, point_labels) if points.shape[1] else None,
                boxes=corners.flatten(1) if corners.shape[1] else None,
                masks=None if mask_input is None else mask_input.float(),
            )
            image_pe = prompt_encoder.get_dense_pe()
        masks, iou = self.model.mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=image_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        return masks.float(), iou.float()


def check_open_clip(name: str, pretrained: str) -> None:
    """Raises TrainingError if OpenCLIP has no such model, or no weights are of that tag or file."""
    if name not in open_clip.list_models():
        raise TrainingError(f"OpenCLIP has no model {name!r}; open_clip.list_models() tells them")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and not Path(pretrained).is_file():
        known = f"its tags are {', '.join(tags)}" if tags else "it has no tags"
        raise TrainingError(
            f"OpenCLIP has no weights {pretrained!r} of {name}, and there is no such file: {known}"
        )


def load_open_clip(name: str, pretrained: str) -> OpenClip:
    """Loads an OpenCLIP model by name and tag, or a file; raises TrainingError if it misfits."""
    check_open_clip(name, pretrained)
    try:
        model, _, _ = open_clip.create_model_and_transforms(name, pretrained=pretrained)
    except (RuntimeError, pickle.UnpicklingError) as error:
        told = one_line(error)
        raise TrainingError(f"OpenCLIP cannot load {name} with {pretrained!r}: {told}") from error
    return OpenClip(model).eval().requires_grad_(False)


def check_segment_anything(name: str, checkpoint: Path) -> None:
    """Raises TrainingError if there is no such SAM, MobileSAM among them, or no file of weights."""
    if name not in (*sam_model_registry, MOBILE_SAM):
        known = f"{', '.join(sam_model_registry)}; {MOBILE_SAM} is MobileSAM"
        raise TrainingError(f"segment-anything has no {name!r}: {known}")
    if not checkpoint.is_file():
        raise TrainingError(
            f"there is no SAM checkpoint {checkpoint}: put segment-anything's file there, or say "
            "where it is with teachers.sam_checkpoint"
        )


def load_segment_anything(name: str, checkpoint: Path) -> SegmentAnything:
    """Loads `vit_b`, `vit_l` or `vit_h`; raises TrainingError if the file does not fit."""
    check_segment_anything(name, checkpoint)
    try:
        model = sam_model_registry[name](checkpoint=str(checkpoint))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{checkpoint} is not a {name}: {one_line(error)}") from error
    return SegmentAnything(model).eval().requires_grad_(False)


def load_mobile_sam(config: ModelConfig, checkpoint: Path) -> SmallSam:
    """Loads `mobile_sam.pt` into a model's SAM parts; raises TrainingError if it does not fit."""
    check_segment_anything(MOBILE_SAM, checkpoint)
    model = build_model(config)
    try:
        load_sam(model, torch.load(checkpoint, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, BundleError) as error:
        raise TrainingError(f"{checkpoint} is not MobileSAM's: {one_line(error)}") from error
    return SmallSam(model).eval().requires_grad_(False)
