"""Builds the merged model from its config: the only place where its parts are put together."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.classifier_head import ClassifierHead
from samclip_sdk.modeling.clip_head import ClipHead
from samclip_sdk.modeling.clip_text_encoder import ClipTextEncoder
from samclip_sdk.modeling.config import (
    BertTextConfig,
    ClassifierHeadConfig,
    ClipHeadConfig,
    ImageEncoderConfig,
    MaskDecoderConfig,
    ModelConfig,
    PyramidConfig,
    TextEncoderConfig,
    TinyViTConfig,
    ViTDetConfig,
)
from samclip_sdk.modeling.mask_decoder import LocalBlock, MaskDecoder
from samclip_sdk.modeling.prompt_encoder import PromptEncoder
from samclip_sdk.modeling.pyramid_encoder import HighResolution, PyramidEncoder
from samclip_sdk.modeling.tiny_vit_encoder import TinyViTEncoder
from samclip_sdk.modeling.vit_det_encoder import ViTDetEncoder

ImageEncoder: TypeAlias = ViTDetEncoder | PyramidEncoder | TinyViTEncoder

_TIMM = "image_encoder.backbone."
_POSITIONS = ("pos_embed", "rel_pos", "positional", "attention_biases")


class SamClipModel(nn.Module):
    """The five parts of SAM-CLIP; each part's forward is one graph of the bundle."""

    logit_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        decoder = config.mask_decoder
        self.config = config
        self.image_encoder = _image_encoder(config.image_encoder, decoder)
        self.clip_head = _clip_head(config)
        self.prompt_encoder = PromptEncoder(
            decoder,
            resolution=config.segmentation_resolution,
            patch_size=config.image_encoder.patch_size,
        )
        self.mask_decoder = MaskDecoder(decoder)
        self.mask_decoder.pe_layer.load_state_dict(self.prompt_encoder.pe_layer.state_dict())
        self.text_encoder = _text_encoder(config.text_encoder, embed_dim=config.embed_dim)
        self.register_buffer("logit_scale", torch.tensor(math.log(1 / 0.07)))

    def start_clip_head(self) -> None:
        """Copies SAM's last block into each layer of the CLIP head (paper section 3.2).

        Only SAM's own encoder has such a block. With any other encoder, the head keeps its random
        weights.
        """
        if isinstance(self.image_encoder, ViTDetEncoder) and isinstance(self.clip_head, ClipHead):
            last = self.image_encoder.blocks[-1].state_dict()
            for block in self.clip_head.blocks:
                block.load_state_dict(last)


def _image_encoder(config: ImageEncoderConfig, decoder: MaskDecoderConfig) -> ImageEncoder:
    out_chans = decoder.embed_dim
    match config:
        case PyramidConfig():
            finer = decoder.high_resolution
            return PyramidEncoder(config, out_chans=out_chans, high_resolution=finer)
        case TinyViTConfig():
            return TinyViTEncoder(config, out_chans=out_chans)
        case ViTDetConfig():
            return ViTDetEncoder(config, out_chans=out_chans)


def _clip_head(config: ModelConfig) -> ClipHead | ClassifierHead:
    match config.image_encoder, config.clip_head:
        case PyramidConfig() as encoder, ClassifierHeadConfig() as head:
            return ClassifierHead(encoder, head, embed_dim=config.embed_dim)
        case (ViTDetConfig() | TinyViTConfig()) as encoder, ClipHeadConfig() as head:
            return ClipHead(encoder, head, embed_dim=config.embed_dim)
    raise AssertionError("the config refuses all other pairs")


def _text_encoder(
    config: TextEncoderConfig, *, embed_dim: int
) -> ClipTextEncoder | BertTextEncoder:
    if isinstance(config, BertTextConfig):
        return BertTextEncoder(config, embed_dim=embed_dim)
    return ClipTextEncoder(config, embed_dim=embed_dim)


def build_model(config: ModelConfig, *, seed: int = 0) -> SamClipModel:
    """Builds the model with random weights that depend on `seed` only.

    Linear layers have a standard deviation of fan_in^-0.5, as in CLIP, so that the signal of a
    narrow model does not vanish. Positions are drawn as in ViT, CLIP's token embedding as in CLIP.
    All other weights keep torch's default, as in SAM, and a timm backbone keeps timm's. Local
    blocks and finer features start as the identity.

    Raises:
        ValueError: timm does not have the backbone, or its strides do not fit.
        RuntimeMissingError: the config needs timm, and it is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamClipModel(config)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith(_TIMM):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in model.modules():
            if isinstance(module, LocalBlock | HighResolution):
                module.start()
        for name, parameter in model.named_parameters():
            if not name.startswith(_TIMM) and any(word in name for word in _POSITIONS):
                nn.init.trunc_normal_(parameter, std=0.02)
        text = model.text_encoder
        nn.init.normal_(text.token_embedding.weight, std=config.text_encoder.embedding_width**-0.5)
        if isinstance(text, ClipTextEncoder):
            nn.init.normal_(text.text_projection, std=config.text_encoder.width**-0.5)
    return model.eval()
