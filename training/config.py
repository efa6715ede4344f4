"""A stage's settings, read from TOML: unknown keys fail, any value can be overridden."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path(__file__).parent / "configs"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EarlyStop(_Settings):
    """Stop once `metric` has been below its best for `patience` validations in a row.

    The best weights are the result. A fall of up to `margin` is none.
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

    steps: int = Field(gt=0)
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
    precision: Literal["fp32", "bf16"] = "bf16"
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, gt=0)
    seed: int = 0


class Pictures(_Settings):
    """D_CLIP batches: pictures of a few objects at one of `resolutions`, a pixel budget a batch.

    `none`, `few` and `plain` are the shares of pictures with no object, with two or three, and
    with one over a flat colour; the rest have one over any backdrop.
    """

    resolutions: tuple[int, ...]
    pixels_per_batch: int = Field(gt=0)
    none: float = 0.08
    few: float = 0.22
    plain: float = 0.0

    def size(self, resolution: int) -> int:
        """Pictures in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)


class Scenes(_Settings):
    """D_SAM batches: scenes with simulated prompts, and regions for the CLIP head."""

    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)


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
    which needs the other). The paper's own loss has 0. `starts_from` is an earlier
    stage, or "teachers" for stage 0: SAM's weights and a CLIP head of copies.
    """

    task: Literal["distill"]
    teachers: Teachers = SmallTeachers()
    optimisation: Optimisation
    pictures: Pictures
    scenes: Scenes | None = None
    sam_weight: float = Field(default=10.0, ge=0)
    region_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    starts_from: str


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
    ClipTeacherConfig | SamTeacherConfig | DistillConfig | PublishConfig | CalibrateConfig,
    Field(discriminator="task"),
]
_ADAPTER: TypeAdapter[StageConfig] = TypeAdapter(StageConfig)


def stage_names(path: Path) -> list[str]:
    """The stages that a TOML file has a table for."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [name for name in tables if name != "teachers"]


def load_stage(path: Path, stage: str, *, overrides: tuple[str, ...] = ()) -> StageConfig:
    """Reads one stage's table of a TOML file; the table `teachers` goes for every merge in it.

    Args:
        path: the file, one table a stage.
        stage: the table's name.
        overrides: `dotted.key=value`, the value in TOML's syntax.

    Raises:
        ValueError: no such stage, an unknown key, or a value out of range.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    teachers = tables.pop("teachers", None)
    if stage not in tables:
        raise ValueError(f"{path.name} has no stage {stage!r}; it has {', '.join(tables)}")
    table = tables[stage]
    if teachers is not None and table.get("task") == "distill":
        table.setdefault("teachers", teachers)
    for override in overrides:
        key, _, value = override.partition("=")
        *parents, leaf = key.split(".")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = tomllib.loads(f"value = {value}")["value"]
    return _ADAPTER.validate_python(table)
