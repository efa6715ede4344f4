"""What a stage goes on from, and what it leaves in the folder of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.system.atomic_file import atomic_file
from training.calibrate import CALIBRATION_NAME
from training.config import ClipTeacherConfig, SamTeacherConfig
from training.step_size import Trained
from training.teachers.small import save_teacher
from training.teachers.teacher_pair import SETTINGS_NAME, WEIGHTS_NAME
from training.teachers.text_encoder_file import copy_tokenizer
from training.teachers.weights import give_weights, read_weights


def write_student(
    student: SamClipModel, run: Path, *, start: Path, provenance: dict[str, Any]
) -> None:
    """Writes a checkpoint; a calibration that is there was of other weights, and goes."""
    (run / CALIBRATION_NAME).unlink(missing_ok=True)
    save_checkpoint(student, run, provenance=provenance)
    if isinstance(student.config.text_encoder, BertTextConfig):
        copy_tokenizer(start, run)


def go_on(teacher: nn.Module, folder: Path | None) -> None:
    """Gives a teacher in training the weights of one that was trained, alone or in a student."""
    if folder is not None:
        path = folder / WEIGHTS_NAME
        parts = {key.partition(".")[0] for key in teacher.state_dict()}
        state = read_weights(path)
        own = {key: x for key, x in state.items() if key.partition(".")[0] in parts}
        give_weights(teacher, own, path)


def write_teacher(
    module: nn.Module, settings: ClipTeacherConfig | SamTeacherConfig, run: Path
) -> None:
    """Writes a teacher's weights, and the settings that say how to build it."""
    write_settings(settings, run)
    save_teacher(module, run / WEIGHTS_NAME)


def write_settings(settings: Trained, run: Path) -> None:
    """Writes the settings that a stage was run with."""
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(settings.model_dump_json(indent=2).encode())
