"""The merged model's configuration: one frozen tree without torch, in checkpoints and bundles.

The presets are `VIT_B` (the paper's model, section 3), `VIT_L` and `VIT_H` (SAM's larger
encoders), `TINY` (for drawings) and `TINY_VIT` (MobileSAM's encoder). `MOBILE` (the embedded
default), `REPVIT` and `MOBILECLIP` have convolutional encoders.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Stages: TypeAlias = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]

Template: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^{}]*\{\}[^{}]*$")]
"""A prompt for a label, with {} once in place of the label."""


class _ImageEncoderConfig(_Config):
    """The fields that all kinds of image encoder share."""

    image_size_px: int = Field(default=1024, gt=0)
    patch_size: int = Field(default=16, gt=0)

    @property
    def grid(self) -> int:
        """Tokens along one side at `image_size_px`."""
        return self.image_size_px // self.patch_size

    @property
    def resolution_step(self) -> int:
        """The pixels that a resolution must be a multiple of."""
        return self.patch_size


class ViTDetConfig(_ImageEncoderConfig):
    """SAM's ViT-Det image encoder. The position tables are stored for `image_size_px`."""

    kind: Literal["vit_det"] = "vit_det"
    embed_dim: int = Field(default=768, gt=0)
    depth: int = Field(default=12, gt=0)
    num_heads: int = Field(default=12, gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)
    window_size: int = Field(default=14, gt=0)
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)

    @property
    def token_dim(self) -> int:
        """Width of image_tokens."""
        return self.embed_dim

    @model_validator(mode="after")
    def _check(self) -> ViTDetConfig:
        for index in self.global_attn_indexes:
            if not 0 <= index < self.depth:
                raise ValueError(f"global_attn_indexes has {index}, outside 0..{self.depth - 1}")
        if self.depth - 1 not in self.global_attn_indexes:
            raise ValueError("the last layer must be global: the CLIP head's layers are its copies")
        return self


class PyramidConfig(_ImageEncoderConfig):
    """A timm backbone whose features at strides 8, 16 and 32 are fused at stride 16.

    `widths` are the channels of these features; `embed_dim` is the width of the fused features,
    before the neck. Pixels are RGB 0..255, minus the mean, divided by the standard deviation.
    """

    kind: Literal["pyramid"] = "pyramid"
    image_size_px: int = Field(default=576, gt=0)
    patch_size: Literal[16] = 16
    backbone: str = Field(min_length=1, description="the backbone's name in timm")
    widths: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        description="channels of the backbone's strides 8, 16 and 32"
    )
    embed_dim: int = Field(default=256, gt=0)
    proposals: bool = Field(
        default=False, description="whether a head proposes boxes of things of any kind: ours"
    )
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (58.395, 57.12, 57.375)

    @property
    def resolution_step(self) -> int:
        """The pixels that a resolution must be a multiple of: the coarsest stride."""
        return 32

    @property
    def token_dim(self) -> int:
        """Width of image_tokens: the sum of the backbone's widths at all three strides."""
        return sum(self.widths)


class TinyViTConfig(_ImageEncoderConfig):
    """MobileSAM's image encoder, with one value for each of TinyViT's four stages.

    The first stage is convolutional, so its heads and window are not used. The position tables of
    the CLIP head's layers are stored for `image_size_px`; these layers have as many heads as the
    last stage.
    """

    kind: Literal["tiny_vit"] = "tiny_vit"
    patch_size: Literal[16] = 16
    embed_dims: Stages = (64, 128, 160, 320)
    depths: Stages = (2, 2, 6, 2)
    stage_heads: Stages = (2, 4, 5, 10)
    window_sizes: Stages = (7, 7, 14, 7)
    mlp_ratio: float = Field(default=4.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> TinyViTConfig:
        for width, heads in zip(self.embed_dims, self.stage_heads, strict=True):
            if width % heads:
                raise ValueError(f"embed_dims has {width}, no multiple of its {heads} heads")
        return self

    @property
    def embed_dim(self) -> int:
        """Width of the last stage."""
        return self.embed_dims[-1]

    @property
    def token_dim(self) -> int:
        """Width of image_tokens."""
        return self.embed_dim

    @property
    def num_heads(self) -> int:
        """Heads of the CLIP head's layers."""
        return self.stage_heads[-1]


ImageEncoderConfig: TypeAlias = Annotated[
    ViTDetConfig | PyramidConfig | TinyViTConfig, Field(discriminator="kind")
]
"""The kinds of image encoder; all have the same interface."""


class ClipHeadConfig(_Config):
    """The CLIP head (paper section 3.1): layers, max-pool, LayerNorm, MLP (two hidden layers)."""

    depth: int = Field(default=3, gt=0)
    hidden_dim: int = Field(default=768, gt=0)
    token_pooling: dict[int, Literal[1, 2]] = Field(
        default={}, description="resolution in pixels -> side of the token pooling; 1 if absent"
    )


class ClassifierHeadConfig(_Config):
    """The CLIP head of a convolutional encoder: an image classifier's last layers, corrected.

    `features` is the width of the features that the classifier pools. `hidden_dim` is the width of
    the layers that correct each patch, and `mlp_dim` of their MLPs.
    """

    features: int = Field(gt=0)
    hidden_dim: int = Field(default=384, gt=0)
    mlp_dim: int = Field(default=768, gt=0)


class MaskDecoderConfig(_Config):
    """SAM's prompt encoder and mask decoder; `embed_dim` is also the neck's width."""

    embed_dim: int = Field(default=256, gt=0, multiple_of=8)
    mask_in_chans: int = Field(default=16, gt=0, multiple_of=4)
    depth: int = Field(default=2, gt=0)
    num_heads: int = Field(default=8, gt=0)
    mlp_dim: int = Field(default=2048, gt=0)
    iou_head_hidden_dim: int = Field(default=256, gt=0)
    local_blocks: int = Field(
        default=0, ge=0, description="our convolutions over the image's tokens; SAM has none"
    )
    high_resolution: bool = Field(
        default=False, description="whether features of strides 4 and 8 enter the upscaling: SAM 2"
    )
    dynamic_multimask: bool = Field(
        default=False, description="whether the single mask is the best of the three, as in SAM 2"
    )

    @property
    def image_dim(self) -> int:
        """Width of image_embeddings."""
        return self.embed_dim * (4 if self.high_resolution else 1)


class ClipTextConfig(_Config):
    """CLIP's text encoder. `embedding_width` below `width` factorises the token embedding."""

    kind: Literal["clip"] = "clip"
    context_length: int = Field(default=77, gt=1)
    vocab_size: int = Field(default=49408, gt=2)
    width: int = Field(default=768, gt=0)
    num_heads: int = Field(default=12, gt=0)
    depth: int = Field(default=12, gt=0)
    embedding_width: int = Field(default=768, gt=0)
    activation: Literal["gelu", "quick_gelu"] = "gelu"


class BertTextConfig(_Config):
    """A small BERT with attention between all tokens, and an MLP from their mean to E.

    `mlp_dim` is the hidden width of its layers, `hidden_dim` of the MLP behind them. `templates`
    are the prompts that it was trained with, with {} in place of the label.
    """

    kind: Literal["bert"] = "bert"
    context_length: int = Field(default=24, gt=2)
    vocab_size: int = Field(default=30522, gt=2)
    width: int = Field(default=384, gt=0)
    num_heads: int = Field(default=12, gt=0)
    depth: int = Field(default=2, gt=0)
    mlp_dim: int = Field(default=1536, gt=0)
    embedding_width: int = Field(default=80, gt=0)
    hidden_dim: int = Field(default=768, gt=0)
    templates: tuple[Template, ...] = Field(default=("a photo of a {}.",), min_length=1)


TextEncoderConfig: TypeAlias = Annotated[
    ClipTextConfig | BertTextConfig, Field(discriminator="kind")
]
"""The two kinds of text encoder; both have the same interface."""


class ModelConfig(_Config):
    """The configuration of the merged model, from which `build_model` builds it at any size.

    `classification_resolution` and `segmentation_resolution` are the resolutions in pixels at
    which the two tasks run (paper: 336 and 1024); `embed_dim` is CLIP's joint embedding width.
    """

    name: str = Field(min_length=1)
    embed_dim: int = Field(default=768, gt=0)
    classification_resolution: int = Field(default=336, gt=0)
    segmentation_resolution: int = Field(default=1024, gt=0)
    image_encoder: ImageEncoderConfig = ViTDetConfig()
    clip_head: ClipHeadConfig | ClassifierHeadConfig = ClipHeadConfig()
    mask_decoder: MaskDecoderConfig = MaskDecoderConfig()
    text_encoder: TextEncoderConfig = ClipTextConfig()

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        encoder, decoder, text = self.image_encoder, self.mask_decoder, self.text_encoder
        head = self.clip_head
        widths = [
            ("mask_decoder.embed_dim", decoder.embed_dim, 2 * decoder.num_heads),
            ("text_encoder.width", text.width, text.num_heads),
        ]
        if isinstance(encoder, PyramidConfig) != isinstance(head, ClassifierHeadConfig):
            has = "features" if isinstance(head, ClassifierHeadConfig) else "depth"
            raise ValueError(
                f"a clip_head with {has} does not fit the image encoder {encoder.kind}"
            )
        if not isinstance(encoder, PyramidConfig):
            widths.append(("image_encoder.embed_dim", encoder.embed_dim, encoder.num_heads))
        if decoder.high_resolution and not isinstance(encoder, PyramidConfig):
            raise ValueError(
                f"mask_decoder.high_resolution needs an image encoder with features of strides 4 "
                f"and 8, which {encoder.kind} has not"
            )
        for what, width, heads in widths:
            if width % heads:
                raise ValueError(f"{what} {width} is not a multiple of its heads ({heads})")
        for resolution in (
            encoder.image_size_px,
            self.classification_resolution,
            self.segmentation_resolution,
            *(head.token_pooling if isinstance(head, ClipHeadConfig) else ()),
        ):
            self.check_resolution(resolution)
        return self

    @property
    def grid(self) -> int:
        """g, the side of the map of cells in which masks are decoded."""
        return self.segmentation_resolution // self.image_encoder.patch_size

    @property
    def proposes(self) -> bool:
        """Whether the image encoder proposes boxes of things."""
        return isinstance(self.image_encoder, PyramidConfig) and self.image_encoder.proposals

    @property
    def takes_rectangles(self) -> bool:
        """Whether an image needs no padding to a square; its sides are padded to whole steps.

        A convolutional encoder runs at any height and width. Tables of positions and windows of
        attention are for squares.
        """
        return isinstance(self.image_encoder, PyramidConfig)

    def check_resolution(self, resolution: int) -> None:
        """Raises ValueError unless the model runs at `resolution` pixels."""
        encoder = self.image_encoder
        cell = encoder.patch_size * self.token_pooling(resolution)
        step = math.lcm(encoder.resolution_step, cell)
        if resolution <= 0 or resolution % step:
            raise ValueError(f"resolution {resolution} is not a positive multiple of {step} pixels")

    def token_pooling(self, resolution: int) -> int:
        """Side of the token pooling in front of the CLIP head at `resolution` (1 or 2)."""
        head = self.clip_head
        return head.token_pooling.get(resolution, 1) if isinstance(head, ClipHeadConfig) else 1


# The paper's class maps are 32 x 32 at 1024 px (section 4.4), from 64 x 64 tokens.
VIT_B = ModelConfig(name="samclip-vit-b", clip_head=ClipHeadConfig(token_pooling={1024: 2}))

# The same with SAM's larger encoders; the text encoder is also CLIP's ViT-L/14.
VIT_L = VIT_B.model_copy(
    update={
        "name": "samclip-vit-l",
        "image_encoder": ViTDetConfig(
            embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)
        ),
    }
)
VIT_H = VIT_B.model_copy(
    update={
        "name": "samclip-vit-h",
        "image_encoder": ViTDetConfig(
            embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)
        ),
    }
)

TINY = ModelConfig(
    name="samclip-tiny",
    embed_dim=192,
    classification_resolution=128,
    segmentation_resolution=256,
    image_encoder=ViTDetConfig(
        image_size_px=256,
        embed_dim=192,
        depth=8,
        num_heads=3,
        window_size=8,
        global_attn_indexes=(3, 7),
    ),
    clip_head=ClipHeadConfig(depth=3, hidden_dim=384),
    mask_decoder=MaskDecoderConfig(
        embed_dim=128, num_heads=4, mlp_dim=512, iou_head_hidden_dim=128
    ),
    text_encoder=ClipTextConfig(width=128, num_heads=4, depth=3, embedding_width=24),
)

MOBILE = ModelConfig(
    name="samclip-mobile",
    embed_dim=384,
    classification_resolution=352,
    segmentation_resolution=576,
    image_encoder=PyramidConfig(
        backbone="tf_efficientnet_lite2",
        widths=(48, 120, 352),
        proposals=True,
        pixel_mean=(127.0, 127.0, 127.0),
        pixel_std=(128.0, 128.0, 128.0),
    ),
    clip_head=ClassifierHeadConfig(features=1280, mlp_dim=128),
    mask_decoder=TINY.mask_decoder.model_copy(
        update={"local_blocks": 1, "high_resolution": True, "dynamic_multimask": True}
    ),
    text_encoder=BertTextConfig(vocab_size=20480, depth=3),
)

# Small backbones whose published weights have a restrictive licence or are in no package: for users
# who have such weights.
REPVIT = MOBILE.model_copy(
    update={
        "name": "samclip-repvit",
        "image_encoder": PyramidConfig(backbone="repvit_m1_1", widths=(128, 256, 512)),
    }
)
MOBILECLIP = MOBILE.model_copy(
    update={
        "name": "samclip-mobileclip",
        "image_encoder": PyramidConfig(
            backbone="fastvit_mci0",
            widths=(128, 256, 512),
            pixel_mean=(0.0, 0.0, 0.0),
            pixel_std=(255.0, 255.0, 255.0),
        ),
    }
)

# MobileSAM's encoder and decoder; the text encoder is that of the Perception Encoder S/16.
TINY_VIT = ModelConfig(
    name="samclip-tiny-vit",
    embed_dim=512,
    image_encoder=TinyViTConfig(),
    clip_head=ClipHeadConfig(token_pooling={1024: 2}),
    text_encoder=ClipTextConfig(context_length=32, width=512, num_heads=8, embedding_width=512),
)

PRESETS = {
    "vit_b": VIT_B,
    "vit_l": VIT_L,
    "vit_h": VIT_H,
    "tiny": TINY,
    "mobile": MOBILE,
    "tiny_vit": TINY_VIT,
    "repvit": REPVIT,
    "mobileclip": MOBILECLIP,
}
