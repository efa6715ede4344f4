"""The settings of every kind of stage; unknown keys fail. `config_file` reads them from TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from training.data_config import (
    CaptionedPictures,
    JointPhotographs,
    LabelledPhotographs,
    MixedPictures,
    MixedScenes,
    PhotographPictures,
    Photographs,
    PhotographScenes,
    Pictures,
    Sa1b,
    Scenes,
    Settings,
    Shards,
)
from training.loop_config import Optimisation, Precision
from training.text_config import (
    LexiconConfig,
    TextEncoderTrainingConfig,
    TextTeacherConfig,
)


def _source(settings: Any) -> str:
    """The source that settings are of; of those that do not say, composed data."""
    found = settings.get("source") if isinstance(settings, dict) else settings.source
    return str(found or "composed")


class ClipTeacherConfig(Settings):
    """The small CLIP: a timm image tower and a text tower, trained contrastively.

    `starts_from` is the folder of a trained teacher to go on from: its weights, a new schedule.
    """

    task: Literal["clip_teacher"]
    starts_from: Path | None = None
    optimisation: Optimisation
    pictures: Pictures
    image_tower: str
    nouns: int = Field(gt=1)
    text_weight: float = Field(default=1.0, ge=0)
    text_only_steps: int = Field(default=0, ge=0)


class SamTeacherConfig(Settings):
    """The small SAM: the merged model's own SAM parts, trained on true masks.

    `starts_from` is as of the small CLIP, or the folder of a merged checkpoint, whose SAM goes on.
    Otherwise `backbone` gives the image encoder's backbone published weights, and `prompts_from` is
    the folder of a trained SAM teacher whose prompt encoder and mask decoder, of the same sizes,
    are a better start than random ones: a decoder answers boxes with nothing for long if it learns
    everything anew.
    """

    task: Literal["sam_teacher"]
    starts_from: Path | None = None
    backbone: Literal["efficientnet_lite2"] | None = None
    prompts_from: Path | None = None
    optimisation: Optimisation
    scenes: Annotated[
        Annotated[Scenes, Tag("composed")]
        | Annotated[PhotographScenes, Tag("photographs")]
        | Annotated[MixedScenes, Tag("mixed")],
        Discriminator(
            _source,
            custom_error_type="source",
            custom_error_message="source must be composed, photographs or mixed",
        ),
    ]

    @model_validator(mode="after")
    def _check(self) -> SamTeacherConfig:
        if self.starts_from and (self.backbone or self.prompts_from):
            raise ValueError("starts_from brings all weights: leave out backbone and prompts_from")
        return self


class ClassifierClipConfig(Settings):
    """The CLIP teacher of photographs: EfficientNet-Lite2's classifier behind a head of its own.

    The head, of the model's own kind and size, is taught by the names of labelled `photographs`, in
    the words of `template`, as the text teacher of the stage before embeds them. Whole pictures
    are embedded at `resolution`. `starts_from` is as of the small CLIP.
    """

    task: Literal["classifier_clip"]
    starts_from: Path | None = None
    optimisation: Optimisation
    photographs: LabelledPhotographs
    template: str = Field(default="a photo of a {}.", pattern=r"\{\}")
    resolution: int = Field(default=288, gt=0, multiple_of=32)


class SmallTeachers(Settings):
    """The small CLIP and the small SAM that the same config trains."""

    kind: Literal["small"] = "small"


class FoundationTeachers(Settings):
    """The paper's teachers, from their own packages and checkpoints.

    `clip` and `pretrained` are OpenCLIP's name and tag, or the path of a checkpoint; `sam` is one
    of segment-anything's models, or `vit_t`, which is MobileSAM, of the file `sam_checkpoint`. The
    two licences are of checkpoints of your own; those of the published ones that are known need
    not be given.
    """

    kind: Literal["foundation"]
    clip: str
    pretrained: str
    clip_licence: str | None = Field(default=None, min_length=1)
    sam: str
    sam_checkpoint: Path
    sam_licence: str | None = Field(default=None, min_length=1)


class PhotographTeachers(Settings):
    """A CLIP and a SAM that know photographs, and a text encoder, which the same config trains.

    They are what the stages classifier_clip, sam_teacher and text_encoder leave.
    """

    kind: Literal["photographs"]


Teachers = Annotated[
    SmallTeachers | FoundationTeachers | PhotographTeachers,
    Field(discriminator="kind"),
]


class DistillConfig(Settings):
    """One of the paper's three stages.

    `sam_weight` is lambda; 0 leaves the scenes' masks out. `region_weight` is of the region
    distillation, which is ours: the CLIP head's features in a box of a scene against the
    teacher's embedding of that crop, pooled (`region_weight`) and patch by patch (`dense_weight`,
    which needs the other). `cell_weight`, ours too, is of every cell of the pictures against a CLIP
    teacher that tells of cells. The paper's own loss has 0 of these. `grad_checkpointing` computes
    the backbone's layers again on the way back, for memory. `starts_from` is an earlier stage, or
    "teachers" for stage 0: SAM's weights and a CLIP head of copies.
    """

    task: Literal["distill"]
    teachers: Teachers = SmallTeachers()
    optimisation: Optimisation
    pictures: Annotated[
        Pictures | Shards | PhotographPictures | MixedPictures, Field(discriminator="source")
    ]
    scenes: (
        Annotated[Scenes | Sa1b | PhotographScenes | MixedScenes, Field(discriminator="source")]
        | None
    ) = None
    grad_checkpointing: bool = False
    sam_weight: float = Field(default=10.0, ge=0)
    region_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    cell_weight: float = Field(default=0.0, ge=0)
    starts_from: str

    @model_validator(mode="after")
    def _check(self) -> DistillConfig:
        if isinstance(self.teachers, FoundationTeachers) and not isinstance(self.pictures, Shards):
            raise ValueError(
                "teachers of the kind foundation need pictures of the source shards: they would "
                "embed the padding of others, too"
            )
        if self.scenes is None and self.asks_sam:
            raise ValueError(
                "sam_weight and region_weight need scenes: give some, or set both to 0"
            )
        regions = 0
        if self.scenes is not None and not isinstance(self.scenes, Sa1b):
            regions = self.scenes.random_regions
        if self.region_weight and not regions:
            raise ValueError("region_weight needs scenes with random_regions, which sa1b has not")
        if self.dense_weight and not self.region_weight:
            raise ValueError("dense_weight needs region_weight, too")
        return self

    @property
    def asks_sam(self) -> bool:
        """Whether a loss is of scenes, about which the SAM teacher is asked."""
        return bool(self.sam_weight or self.region_weight)


class JointConfig(Settings):
    """One training of the backbone, the CLIP head and SAM's parts on photographs with labels.

    It begins with EfficientNet-Lite2's published weights, and with the prompt encoder and the mask
    decoder of the SAM teacher in the folder `prompts_from`, of the same sizes: a decoder answers
    boxes with nothing for long if it learns everything anew. Names have the embeddings of the stage
    lexicon; those of one thing, by `wordnet`, never compete. Labels are asked for by their score
    maps after `labels_after` steps.
    """

    task: Literal["joint"]
    prompts_from: Path
    photographs: JointPhotographs
    optimisation: Optimisation
    labels_after: int = Field(default=0, ge=0)
    wordnet: Path = Path("/usr/share/wordnet")


def start_folder(starts_from: str, *, runs: Path) -> Path:
    """What a stage starts from: a stage of the same `runs` by its name, or a folder by its path."""
    return Path(starts_from) if "/" in starts_from else runs / starts_from


class EmbeddingsConfig(Settings):
    """Embeds one crop of every picture of shards with the CLIP teacher, once, into `folder`."""

    task: Literal["embeddings"]
    teachers: Teachers
    pictures: Shards
    folder: Path
    batch: int = Field(gt=0)
    precision: Precision = "bf16"
    workers: int = Field(default=8, ge=0)
    seed: int = 0


class CalibrateConfig(Settings):
    """Scores and thresholds of text-to-mask; no weight changes.

    They are chosen on so many composed `scenes`; on the `photographs` of complete sets in the split
    "calibration"; or on `pictures` with captions, which have no masks to choose the thresholds of
    masks by. With `most_false`, at most that share of absent labels is taken for present; without
    it, misses weigh against false alarms.
    """

    task: Literal["calibrate"]
    checkpoint: str
    scenes: int = Field(default=0, ge=0)
    pictures: CaptionedPictures | None = None
    photographs: Photographs | None = None
    most_false: float | None = Field(default=None, ge=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> CalibrateConfig:
        if sum(map(bool, (self.scenes, self.pictures, self.photographs))) != 1:
            raise ValueError(
                "give one of scenes, a number of them, pictures, a table, and photographs, a table"
            )
        return self


class PublishConfig(Settings):
    """Copies of results with their weights in fp16, small enough to keep in the repository.

    A merged checkpoint among them gets the text encoder of the stage `text_encoder`, if one is
    named: it needs no picture, and may be trained after the merge.
    """

    task: Literal["publish"]
    results: tuple[str, ...] = Field(min_length=1)
    text_encoder: str | None = None


StageConfig = Annotated[
    ClipTeacherConfig
    | SamTeacherConfig
    | TextTeacherConfig
    | LexiconConfig
    | ClassifierClipConfig
    | TextEncoderTrainingConfig
    | EmbeddingsConfig
    | DistillConfig
    | JointConfig
    | PublishConfig
    | CalibrateConfig,
    Field(discriminator="task"),
]
