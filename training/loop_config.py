"""The settings of the loop, whatever the stage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from training.data_config import Settings

Precision = Literal["fp32", "bf16"]
Sharding = Literal["none", "full"]


class EarlyStop(Settings):
    """A floor under what a student may forget: `metric` is to be `at_least` so much.

    The weights of the last validation that was not below are the result, whether training stopped
    early or not; it stops once `metric` has been below for `patience` epochs. The best weights
    would be the wrong ones: a student that starts as its teacher is best before it has learned.
    """

    metric: str
    at_least: float
    patience: float = Field(gt=0)


class Validation(Settings):
    """Every `every_steps` steps, `batches` batches that are never trained on."""

    every_steps: int = Field(gt=0)
    batches: int = Field(gt=0)
    early_stop: EarlyStop | None = None


class Optimisation(Settings):
    """How the loop steps, whatever the stage."""

    steps: int = Field(default=0, ge=0)
    epochs: float = Field(default=0.0, ge=0, description="passes over shards, instead of steps")
    validation: Validation | None = None
    pictures_per_step: int | None = Field(
        default=None,
        gt=0,
        description="in all processes together; without it, a batch in each",
    )
    learning_rate: float = Field(gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    constant: float = Field(
        default=0.0, ge=0, lt=1, description="share of the steps before the rate begins to fall"
    )
    averaging: float = Field(
        default=0.0, ge=0, lt=1, description="decay of averaged weights (EMA), which are the result"
    )
    clip_norm: float = Field(default=1.0, gt=0)
    multipliers: dict[str, float] = Field(
        default={}, description="part -> factor on the learning rate; other parts are frozen"
    )
    precision: Precision = "bf16"
    sharding: Sharding = Field(
        default="none", description="full: a share of all weights in each process"
    )
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, gt=0)
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Reads what stages once wrote: one batch a step in each process had a name of its own."""
        if isinstance(values, dict) and values.get("accumulate") == 1:
            return {name: value for name, value in values.items() if name != "accumulate"}
        return values

    @model_validator(mode="after")
    def _check(self) -> Optimisation:
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("give either steps or epochs")
        if self.averaging and self.sharding != "none":
            raise ValueError("averaging needs whole weights in each process: leave out sharding")
        if self.steps and self.validation is not None and self.validation.early_stop is not None:
            raise ValueError("early_stop.patience counts epochs: give epochs instead of steps")
        return self

    def with_steps(self, steps: int) -> Optimisation:
        """The same once the data has said how many steps its epochs are."""
        return self.model_copy(update={"steps": steps})
