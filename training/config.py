"""The settings of every kind of stage; unknown keys fail. `config_file` reads them from TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "bf16"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EarlyStop(_Settings):
    """Stop once `metric` has been below its best for `patience` validations in a row.

    The weights of the best validation are the result, whether training stopped early or not. A fall
    of up to `margin` is none.
    """

    metric: str
    patience: int = Field(default=1, gt=0)
    margin: float = Field(default=0.0, ge=0)


class Validation(_Settings):
    """Every `every_steps` steps, `batches` batches that are never trained on."""

    every_steps: int = Field(gt=0)
    batches: int = Field(gt=0)
    early_stop: EarlyStop | None = None


class Optimisation(_Settings):
    """How the loop steps, whatever the stage."""

    steps: int = Field(default=0, ge=0)
    epochs: float = Field(default=0.0, ge=0, description="passes over shards, instead of steps")
    validation: Validation | None = None
    accumulate: int = Field(default=1, gt=0, description="batches a step, in each process")
    learning_rate: float = Field(gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    multipliers: dict[str, float] = Field(
        default={}, description="part -> factor on the learning rate; other parts are frozen"
    )
    precision: Precision = "bf16"
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Optimisation:
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("give either steps or epochs")
        return self


class Pictures(_Settings):
    """Composed D_CLIP: pictures of a few objects at one of `resolutions`, a pixel budget a batch.

    `none`, `few` and `plain` are the shares of pictures with no object, with two or three, and
    with one over a flat colour; the rest have one over any backdrop.
    """

    source: Literal["composed"] = "composed"
    resolutions: tuple[int, ...]
    pixels_per_batch: int = Field(gt=0)
    none: float = 0.08
    few: float = 0.22
    plain: float = 0.0

    def size(self, resolution: int) -> int:
        """Pictures in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)


class Scenes(_Settings):
    """Composed D_SAM: scenes with simulated prompts, and regions for the CLIP head."""

    source: Literal["composed"] = "composed"
    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)


class ShardSource(_Settings):
    """One data set of `Shards`: a glob of its tar files, and its share beside the others'."""

    shards: str
    weight: float = Field(default=1.0, gt=0)


class Shards(_Settings):
    """D_CLIP from tar shards in img2dataset's layout, at one of `resolutions` a step.

    `index` is a folder for tables of what the shards hold; `embeddings`, that of the CLIP
    teacher's embeddings, if they were computed before. `zero_shot` is an ImageNet-style folder
    of labelled pictures that validations look at.
    """

    source: Literal["shards"]
    sources: tuple[ShardSource, ...] = Field(min_length=1)
    resolutions: tuple[int, ...] = Field(min_length=1)
    pixels_per_batch: int = Field(gt=0)
    index: Path
    embeddings: Path | None = None
    zero_shot: Path | None = None


class Sa1b(_Settings):
    """D_SAM from SA-1B's own files: `prompts` masks of each of `batch` pictures."""

    source: Literal["sa1b"]
    folder: Path
    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)


class PhotographSettings(_Settings):
    """What differs for one set of `Photographs`.

    Args:
        weight: on how often its pictures are drawn; 0 leaves the set out.
        cap: that many pictures of it count, where it has more: a set of n is drawn as seldom as
            if it had `cap`.
        pictures: folder of its pictures.
        complete: whether all that its categories name is labelled; if not given, it is as the set
            says.
        open: whether anybody may use its pictures; likewise.
    """

    weight: float = Field(default=1.0, ge=0)
    cap: int | None = Field(default=None, gt=0)
    pictures: str = "images"
    complete: bool | None = None
    open: bool | None = None


class Photographs(_Settings):
    """Sets of photographs in COCO's layout, each a folder below `root`.

    Args:
        root: every folder in it with an `instances.json` is a set.
        sets: what differs for some of them, by name.
        terms: `open` leaves out the sets that not anybody may use.
        held_out: a text file of nouns, a line each, whose names are never used: neither a label
            nor a mask's name nor a caption that holds one as a whole word. The pictures serve
            without them, and the masks serve SAM.
        balance: what a concept that n pictures show weighs in each of them is n to the power of
            minus this: 0 draws pictures evenly, 1 concepts.
    """

    source: Literal["photographs"]
    root: Path
    sets: dict[str, PhotographSettings] = {}
    terms: Literal["open", "all"] = "all"
    held_out: Path | None = None
    balance: float = Field(default=0.5, ge=0, le=1)


class PhotographPictures(Photographs):
    """D_CLIP from photographs, at one of `resolutions`, a pixel budget a batch."""

    resolutions: tuple[int, ...] = Field(min_length=1)
    pixels_per_batch: int = Field(gt=0)

    def size(self, resolution: int) -> int:
        """Pictures in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)


class PhotographScenes(Photographs):
    """D_SAM from photographs with masks, with simulated prompts, and regions for the CLIP head.

    In a share `paste` of the pictures, one to three things cut out of others are pasted.
    """

    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)
    paste: float = Field(default=0.0, ge=0, le=1)


class LabelledPhotographs(Photographs):
    """Photographs with names and where they are, to teach a dense CLIP teacher."""

    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)


class ClipTeacherConfig(_Settings):
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


class SamTeacherConfig(_Settings):
    """The small SAM: the merged model's own SAM parts, trained on composed scenes.

    `starts_from` is as of the small CLIP.
    """

    task: Literal["sam_teacher"]
    starts_from: Path | None = None
    optimisation: Optimisation
    scenes: Scenes


class TextTeacherConfig(_Settings):
    """The text teacher: MiniLM's sentences, mapped to the space of EfficientNet-Lite2's classifier.

    Fitted to the names of its 1,000 classes in all of `templates`, with `noise` on the sentences,
    in batches of which a first name is `direct_weight` times as often as another. Of the synonyms,
    and of the names of `regions`, `held_out_share` are left out. `nouns` other nouns keep their
    neighbours. `regions` is a safetensors file: name -> the mean unit image vector [E] of what was
    labelled so.
    """

    task: Literal["text_teacher"]
    wordnet: Path = Path("/usr/share/wordnet")
    templates: tuple[str, ...] = Field(default=("{}", "a photo of a {}.", "a {}"), min_length=1)
    hidden_dim: int = Field(default=768, gt=0)
    nouns: int = Field(default=20_000, ge=0)
    held_out_share: float = Field(default=0.2, ge=0, lt=1)
    regions: Path | None = None
    steps: int = Field(default=600, gt=0)
    batch: int = Field(default=1024, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    noise: float = Field(default=0.05, ge=0)
    direct_weight: float = Field(default=4.0, gt=0)
    neighbour_weight: float = Field(default=1.0, ge=0)
    region_weight: float = Field(default=1.0, ge=0)
    seed: int = 0


class SmallTeachers(_Settings):
    """The small CLIP and the small SAM that the same config trains."""

    kind: Literal["small"] = "small"


class FoundationTeachers(_Settings):
    """The paper's teachers, from their own packages and checkpoints.

    `clip` and `pretrained` are OpenCLIP's name and tag, or the path of a checkpoint; `sam` is one
    of segment-anything's models, of the file `sam_checkpoint`. The two licences are of checkpoints
    of your own; those of the published ones that are known need not be given.
    """

    kind: Literal["foundation"]
    clip: str
    pretrained: str
    clip_licence: str | None = Field(default=None, min_length=1)
    sam: str
    sam_checkpoint: Path
    sam_licence: str | None = Field(default=None, min_length=1)


Teachers = Annotated[SmallTeachers | FoundationTeachers, Field(discriminator="kind")]


class DistillConfig(_Settings):
    """One of the paper's three stages.

    `sam_weight` is lambda; 0 leaves the scenes' masks out. `region_weight` is of the region
    distillation, which is ours: the CLIP head's features in a box of a scene against the
    teacher's embedding of that crop, pooled (`region_weight`) and patch by patch (`dense_weight`,
    which needs the other). The paper's own loss has 0. `grad_checkpointing` computes the backbone's
    layers again on the way back, for memory. `starts_from` is an earlier stage, or "teachers" for
    stage 0: SAM's weights and a CLIP head of copies.
    """

    task: Literal["distill"]
    teachers: Teachers = SmallTeachers()
    optimisation: Optimisation
    pictures: Annotated[Pictures | Shards, Field(discriminator="source")]
    scenes: Annotated[Scenes | Sa1b, Field(discriminator="source")] | None = None
    grad_checkpointing: bool = False
    sam_weight: float = Field(default=10.0, ge=0)
    region_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    starts_from: str

    @model_validator(mode="after")
    def _check(self) -> DistillConfig:
        if self.scenes is None and (self.sam_weight or self.region_weight):
            raise ValueError(
                "sam_weight and region_weight need scenes: give some, or set both to 0"
            )
        regions = self.scenes.random_regions if isinstance(self.scenes, Scenes) else 0
        if self.region_weight and not regions:
            raise ValueError("region_weight needs composed scenes with random_regions")
        if self.dense_weight and not self.region_weight:
            raise ValueError("dense_weight needs region_weight, too")
        return self


class EmbeddingsConfig(_Settings):
    """Embeds one crop of every picture of shards with the CLIP teacher, once, into `folder`."""

    task: Literal["embeddings"]
    teachers: Teachers
    pictures: Shards
    folder: Path
    batch: int = Field(gt=0)
    precision: Precision = "bf16"
    workers: int = Field(default=8, ge=0)
    seed: int = 0


class CaptionedPictures(_Settings):
    """So many pictures of shards with captions, which tell what is in a picture and not where.

    `labels` is a text file, a label a line: a picture shows those that its caption names. Without
    it, what a picture shows is its caption, and what it does not show, the captions of others.
    """

    sources: tuple[ShardSource, ...] = Field(min_length=1)
    index: Path
    count: int = Field(gt=0)
    labels: Path | None = None


class CalibrateConfig(_Settings):
    """Scores and thresholds of text-to-mask; no weight changes.

    They are chosen on so many composed `scenes`, or on `pictures` with captions, which have no
    masks to choose the thresholds of masks by.
    """

    task: Literal["calibrate"]
    checkpoint: str
    scenes: int = Field(default=0, ge=0)
    pictures: CaptionedPictures | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> CalibrateConfig:
        if bool(self.scenes) == bool(self.pictures):
            raise ValueError("give either scenes, a number of them, or pictures, a table")
        return self


class PublishConfig(_Settings):
    """Copies of results with their weights in fp16, small enough to keep in the repository."""

    task: Literal["publish"]
    results: tuple[str, ...] = Field(min_length=1)


StageConfig = Annotated[
    ClipTeacherConfig
    | SamTeacherConfig
    | TextTeacherConfig
    | EmbeddingsConfig
    | DistillConfig
    | PublishConfig
    | CalibrateConfig,
    Field(discriminator="task"),
]
