"""A stage's settings, read from TOML: unknown keys fail, any value can be overridden."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from samclip_sdk.modeling.config import PRESETS, ModelConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path(__file__).parent / "configs"

Precision = Literal["fp32", "bf16"]

_MODEL = "model"
_SHARED = "merge"  # the table that stages of these tasks share
_MERGES = ("distill", "embeddings")


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


class SmallTeachers(_Settings):
    """The small CLIP and the small SAM that the same config trains."""

    kind: Literal["small"] = "small"


class FoundationTeachers(_Settings):
    """The paper's teachers, from their own packages and checkpoints.

    `clip` and `pretrained` are OpenCLIP's name and tag, or the path of a checkpoint; `sam` is one
    of segment-anything's models, of the file `sam_checkpoint`.
    """

    kind: Literal["foundation"]
    clip: str
    pretrained: str
    sam: str
    sam_checkpoint: Path


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


class CalibrateConfig(_Settings):
    """Scores and thresholds of text-to-mask, chosen on training scenes; no weight changes."""

    task: Literal["calibrate"]
    checkpoint: str
    scenes: int = Field(gt=0)
    seed: int = 0


class PublishConfig(_Settings):
    """Copies of results with their weights in fp16, small enough to keep in the repository."""

    task: Literal["publish"]
    results: tuple[str, ...] = Field(min_length=1)


StageConfig = Annotated[
    ClipTeacherConfig
    | SamTeacherConfig
    | EmbeddingsConfig
    | DistillConfig
    | PublishConfig
    | CalibrateConfig,
    Field(discriminator="task"),
]
_ADAPTER: TypeAdapter[StageConfig] = TypeAdapter(StageConfig)


def find_config(name: str) -> Path:
    """A config by its name in training/configs, or by the path of a TOML file.

    Raises:
        ValueError: there is no such config.
    """
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.toml")))
        raise ValueError(f"there is no config {name!r}: give one of {known}, or a TOML file")
    return path


def load_model(path: Path) -> ModelConfig:
    """Reads the model of a TOML file: a preset's name, or a table of `preset` and what differs.

    Raises:
        ValueError: no such preset, an unknown key, or sizes that do not go together.
    """
    model = tomllib.loads(path.read_text(encoding="utf-8")).get(_MODEL, {})
    changes = {"preset": model} if isinstance(model, str) else dict(model)
    preset = changes.pop("preset", None)
    if preset not in PRESETS:
        raise ValueError(
            f"{path.name}: model.preset is {preset!r}, not one of {', '.join(PRESETS)}"
        )
    return ModelConfig.model_validate(_join(PRESETS[preset].model_dump(), changes))


def stage_names(path: Path) -> list[str]:
    """The stages that a TOML file has a table for."""
    return list(_tables(path)[1])


def load_stage(path: Path, stage: str, *, overrides: tuple[str, ...] = ()) -> StageConfig:
    """Reads one stage's table of a TOML file; what `merge` has goes for every stage of the merge.

    Args:
        path: the file, one table a stage.
        stage: the table's name.
        overrides: `dotted.key=value`, the value in TOML's syntax.

    Raises:
        ValueError: no such stage, an unknown key, or a value out of range.
    """
    shared, tables = _tables(path)
    if stage not in tables:
        raise ValueError(f"{path.name} has no stage {stage!r}; it has {', '.join(tables)}")
    table = tables[stage]
    if table.get("task") in _MERGES:
        table = _join(shared, table)
    for override in overrides:
        key, _, value = override.partition("=")
        *parents, leaf = key.split(".")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = tomllib.loads(f"value = {value}")["value"]
    return _ADAPTER.validate_python(table)


def _tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table that merges share, and the tables of the stages by name."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    tables.pop(_MODEL, None)
    return tables.pop(_SHARED, {}), tables


def _join(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Tables put together, those inside them too; where both have a value, it is the own one."""
    joined = dict(shared)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(shared.get(key), dict)
        joined[key] = _join(shared[key], value) if both else value
    return joined
