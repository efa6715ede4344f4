"""A CLIP teacher for photographs: an ImageNet classifier behind the CLIP head of a student.

An earlier recipe of samclip-mobile trained and imitated it. It is only measured now. Pictures and
cells are mapped to where `TextTeacher` puts texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samclip_sdk.modeling.classifier_head import ClassifierHead
from samclip_sdk.modeling.config import ClassifierHeadConfig, ModelConfig, PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import join_strides
from training.errors import TrainingError
from training.teachers.efficientnet_lite import LITE2, lite2_state
from training.teachers.weights import give_weights, read_weights, save_weights

_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0
_BACKBONE = "backbone."
_LOGIT_SCALE = 20.0
_WIDE = 2  # times hidden_dim: the MLPs of the teacher's head, however narrow the student's
_LEVELS = [2, 3, 4]  # of timm's: strides 8, 16 and 32


class ClassifierClip(nn.Module):
    """A CLIP made of EfficientNet-Lite2, a `DenseClipTeacher`.

    Args:
        model: the student's, whose head it has.
        resolution: side of a picture that is embedded as a whole.

    Attributes:
        backbone: the whole classifier, in the layout that is fastest on a CPU.
        head: the head, wider than the student's.
        logit_scale: logarithm of what cosines are multiplied by.

    Raises:
        TrainingError: the classifier's package is not installed, or the model's CLIP head is of
            another kind.
    """

    logit_scale: Tensor

    def __init__(self, model: ModelConfig, *, resolution: int) -> None:
        super().__init__()
        encoder, head = model.image_encoder, model.clip_head
        if not isinstance(encoder, PyramidConfig) or not isinstance(head, ClassifierHeadConfig):
            raise TrainingError(f"the CLIP head of {model.name} is of no classifier")
        self.resolution = resolution
        self.embed_dim = model.embed_dim
        backbone: Any = timm.create_model(LITE2)
        backbone.load_state_dict(lite2_state(), strict=False)
        self.backbone = backbone.eval().to(memory_format=torch.channels_last)
        self.register_buffer("logit_scale", torch.tensor(_LOGIT_SCALE).log())
        wide = head.model_copy(update={"mlp_dim": max(head.mlp_dim, _WIDE * head.hidden_dim)})
        self.head = ClassifierHead(encoder, wide, embed_dim=model.embed_dim)
        last = fuse_conv_bn_eval(backbone.conv_head, backbone.bn2)
        self.head.expand.load_state_dict(last.state_dict())
        self.requires_grad_(False)
        self.eval()

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds pictures [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        tokens = self.see(images)
        return self.embed_with_cells(images, tokens.new_ones(tokens[:, 0].shape))[0]

    def embed_with_cells(self, images: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds letterboxed pictures, and each of their cells of 16 x 16 pixels.

        Args:
            images: [B,3,S,S], RGB 0..255, uint8 or float.
            token_mask: float [B,g,g], g = S / 16, 1 where a cell holds any pixel of the picture.

        Returns:
            Unit vectors [B,E] of the pictures without their padding, and [B,E,g,g] of the cells.
        """
        patches, pooled = self.head(self.see(images), token_mask)[:2]
        return pooled, patches.transpose(1, 2).unflatten(2, token_mask.shape[1:])

    @torch.no_grad()
    def see(self, images: Tensor) -> Tensor:
        """The backbone's features of pictures [B,3,S,S], as the head takes them: [B,C,g,g]."""
        x = (images.float() - _PIXEL_MEAN) / _PIXEL_STD
        maps = self.backbone.forward_intermediates(x, indices=_LEVELS, intermediates_only=True)
        return join_strides(*maps)


def save_classifier_clip(clip: ClassifierClip, path: Path) -> None:
    """Writes a teacher's weights without the classifier's, which its package has."""
    state = clip.state_dict()
    save_weights({key: x for key, x in state.items() if not key.startswith(_BACKBONE)}, path)


def load_classifier_clip(path: Path, *, model: ModelConfig, resolution: int) -> ClassifierClip:
    """Loads what `save_classifier_clip` wrote, frozen, in eval mode.

    Raises:
        TrainingError: the file is missing or damaged, or of a teacher of other sizes; or the
            classifier's package is not installed.
    """
    clip = ClassifierClip(model, resolution=resolution)
    own = {key: x for key, x in clip.state_dict().items() if key.startswith(_BACKBONE)}
    give_weights(clip, own | read_weights(path), path)
    return clip
