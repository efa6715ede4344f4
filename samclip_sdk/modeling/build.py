"""The composition root: one config to one merged model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from samclip_sdk.modeling.clip_head import ClipHead
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.modeling.image_encoder import ImageEncoder
from samclip_sdk.modeling.mask_decoder import MaskDecoder
from samclip_sdk.modeling.prompt_encoder import PromptEncoder
from samclip_sdk.modeling.text_encoder import TextEncoder


class SamClipModel(nn.Module):
    """The five parts of SAM-CLIP; each part's forward is one graph of the bundle."""

    logit_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        decoder = config.mask_decoder
        self.config = config
        self.image_encoder = ImageEncoder(config.image_encoder, out_chans=decoder.embed_dim)
        self.clip_head = ClipHead(config)
        self.prompt_encoder = PromptEncoder(
            decoder,
            resolution=config.segmentation_resolution,
            patch_size=config.image_encoder.patch_size,
        )
        self.mask_decoder = MaskDecoder(decoder)
        self.mask_decoder.pe_layer.load_state_dict(self.prompt_encoder.pe_layer.state_dict())
        self.text_encoder = TextEncoder(config.text_encoder, embed_dim=config.embed_dim)
        self.register_buffer("logit_scale", torch.tensor(math.log(1 / 0.07)))


def build_model(config: ModelConfig, *, seed: int = 0) -> SamClipModel:
    """Builds the model with random weights that depend on `seed` alone.

    Linear layers are drawn with a standard deviation of fan_in^-0.5, CLIP's rule, which keeps a
    narrow model's signal alive; positions and CLIP's token embedding as ViT and CLIP draw them;
    all else keeps torch's default, as in SAM.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamClipModel(config)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in model.named_parameters():
            if "pos_embed" in name or "rel_pos" in name or "positional" in name:
                nn.init.trunc_normal_(parameter, std=0.02)
        text = model.text_encoder
        nn.init.normal_(text.token_embedding.weight, std=config.text_encoder.embedding_width**-0.5)
        nn.init.normal_(text.text_projection, std=config.text_encoder.width**-0.5)
    return model.eval()
