"""The settings of the training loop, the same for all stages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from training.data_config import Settings

Precision = Literal["fp32", "bf16"]


class EarlyStop(Settings):
    """A lower limit for a skill that the student may forget.

    The result of a run is the weights of the last validation at which `metric` was `minimum` this
    high. Training stops after `patience` epochs below the limit. The best weights would be the
    wrong ones: a student that starts as its teacher is best before it has learned anything.
    """

    metric: str
    minimum: float
    patience: float = Field(gt=0)


class Validation(Settings):
    """A validation every `every_steps` steps, on `batches` batches that are never trained on."""

    every_steps: int = Field(gt=0)
    batches: int = Field(gt=0)
    early_stop: EarlyStop | None = None


class Optimisation(Settings):
    """The settings of the training loop."""

    steps: int = Field(default=0, ge=0)
    epochs: float = Field(default=0.0, ge=0, description="passes over shards, instead of steps")
    validation: Validation | None = None
    images_per_step: int | None = Field(
        default=None,
        gt=0,
        description="in all processes together; without it, each process takes one batch",
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
    clip_norm: float = Field(
        default=1.0, gt=0, description="the largest norm of each part's gradient"
    )
    multipliers: dict[str, float] = Field(
        default={}, description="part -> factor on the learning rate; other parts are frozen"
    )
    precision: Precision = "bf16"
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, gt=0)
    seed: int = 0

    @property
    def early_stop(self) -> EarlyStop | None:
        """The limit of the validation's metric, if there is one."""
        return None if self.validation is None else self.validation.early_stop

    @model_validator(mode="after")
    def _check(self) -> Optimisation:
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("give either steps or epochs")
        if self.steps and self.early_stop is not None:
            raise ValueError("early_stop.patience counts epochs: give epochs instead of steps")
        return self
