"""How large SAM is: tests ask for small ones. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamArchitecture:
    """The sizes that segment-anything's builders differ in, and those they share.

    Attributes:
        name: as reports print it.
        image_size_px: side of the square that the image encoder sees.
        embed_dim: width of the image encoder.
        depth: its layers.
        num_heads: its heads.
        global_attn_indexes: its layers without windows.
        prompt_embed_dim: width of the neck, the prompt encoder and the mask decoder.
        decoder_heads: heads of the mask decoder.
        decoder_mlp_dim: width of its MLPs.
    """

    name: str = "SAM ViT-B"
    image_size_px: int = 1024
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    prompt_embed_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048


SAM_VIT_B = SamArchitecture()
PATCH_PX = 16
