"""The settings of the teachers that a merge starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from training.data_config import Images, Settings
from training.loop_config import Optimisation


class SmallClipSettings(Settings):
    """The settings of the small CLIP.

    Args:
        image_tower: name of a timm model.
        nouns: number of nouns that it learns.
        text_weight: weight of the texts' distance from MiniLM's sentence embeddings.
        text_only_steps: number of first steps that train the text tower only.
    """

    optimisation: Optimisation
    images: Images
    image_tower: str
    nouns: int = Field(gt=1)
    text_weight: float = Field(default=1.0, ge=0)
    text_only_steps: int = Field(default=0, ge=0)


class SmallTeachers(Settings):
    """The small CLIP and the small SAM, which the same config trains."""

    kind: Literal["small"] = "small"


class FoundationTeachers(Settings):
    """The paper's teachers, from their own packages and checkpoints.

    Args:
        clip: OpenCLIP's name of a model.
        pretrained: OpenCLIP's tag of its weights, or the path of a checkpoint.
        clip_licence: licence of your own checkpoint; known licences of published checkpoints need
            not be given.
        sam: the name of one of segment-anything's models, or `vit_t` for MobileSAM.
        sam_checkpoint: the file of its weights.
        sam_licence: as `clip_licence`.
    """

    kind: Literal["foundation"]
    clip: str
    pretrained: str
    clip_licence: str | None = Field(default=None, min_length=1)
    sam: str
    sam_checkpoint: Path
    sam_licence: str | None = Field(default=None, min_length=1)


Teachers = Annotated[SmallTeachers | FoundationTeachers, Field(discriminator="kind")]
