"""The settings of every kind of stage, told apart by their `task`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from training.stages.calibrate import CalibrateConfig
from training.stages.distill import DistillConfig
from training.stages.embeddings import EmbeddingsConfig
from training.stages.finetune import FinetuneConfig
from training.stages.joint import JointConfig
from training.stages.lexicon import LexiconConfig
from training.stages.part import PartConfig
from training.stages.publish import PublishConfig
from training.stages.small_teachers import ClipTeacherConfig, SamTeacherConfig
from training.stages.text_encoder import TextEncoderTrainingConfig
from training.stages.text_teacher import TextTeacherConfig

AnyStage = Annotated[
    ClipTeacherConfig
    | SamTeacherConfig
    | TextTeacherConfig
    | LexiconConfig
    | TextEncoderTrainingConfig
    | EmbeddingsConfig
    | DistillConfig
    | JointConfig
    | FinetuneConfig
    | PartConfig
    | PublishConfig
    | CalibrateConfig,
    Field(discriminator="task"),
]
