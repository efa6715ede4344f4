"""The checkpoint that a stage writes, and how its weights came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import BertTextConfig
from training.calibrate import CALIBRATION_NAME
from training.data_config import Settings
from training.inputs import versions_of
from training.teachers.text_encoder_file import copy_tokenizer

_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")


def write_student(
    student: SamClipModel, run: Path, *, start: Path, provenance: dict[str, Any]
) -> None:
    """Writes a checkpoint. An old calibration there is removed: it was of other weights.

    Args:
        student: the model.
        run: the folder.
        start: the folder that the text encoder comes from, with its tokenizer.
        provenance: how the weights came about, ready for JSON.
    """
    (run / CALIBRATION_NAME).unlink(missing_ok=True)
    save_checkpoint(student, run, provenance=provenance)
    if isinstance(student.config.text_encoder, BertTextConfig):
        copy_tokenizer(start, run)


def student_provenance(
    settings: Settings,
    *,
    stage: str,
    nouns: int | None,
    licences: Mapping[str, str],
    terms: Mapping[str, str] | None = None,
    starts_from: Any,
) -> dict[str, Any]:
    """Returns the provenance of a checkpoint, ready for JSON.

    Args:
        settings: of the stage.
        stage: its name.
        nouns: number of taught nouns, if they are counted.
        licences: of the teachers.
        terms: the terms of each set of photographs.
        starts_from: the provenance of what the training started from.
    """
    return {
        "stage": stage,
        **({} if nouns is None else {"nouns": nouns}),
        **({"licences": dict(licences)} if licences else {}),
        **({"photographs": dict(terms)} if terms else {}),
        "settings": settings.model_dump(mode="json"),
        "versions": versions_of(*_PACKAGES),
        "starts_from": starts_from,
    }
