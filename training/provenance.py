"""How the weights of a stage came about, down to the teachers."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from samclip_sdk.modeling.checkpoint import read_provenance
from training.config import DistillConfig, JointConfig, start_folder
from training.teachers.photograph_pair import TEXT_ENCODER
from training.teachers.teacher_pair import SETTINGS_NAME, Pair
from training.teachers.text_teacher import TEXT_TEACHER
from training.text.lexicon_file import LEXICON

_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")


def stage_provenance(
    settings: DistillConfig | JointConfig,
    *,
    stage: str,
    runs: Path,
    nouns: int | None,
    licences: dict[str, str],
    terms: dict[str, str],
    pair: Pair | None = None,
) -> dict[str, Any]:
    """The provenance that a checkpoint keeps, ready for JSON.

    Args:
        settings: of the stage.
        stage: its name.
        runs: the folder of the runs, where earlier stages left theirs.
        nouns: how many were taught, where that is counted.
        licences: of the teachers.
        terms: of each set of photographs.
        pair: the teachers of a merge that starts from them.
    """
    starts_from: Any
    if isinstance(settings, JointConfig):
        starts_from = {
            name: json.loads((runs / name / SETTINGS_NAME).read_bytes())["provenance"]
            for name in (TEXT_TEACHER, LEXICON, TEXT_ENCODER)
        }
    elif settings.starts_from == "teachers" and pair is not None:
        starts_from = pair.provenance()
    else:
        starts_from = read_provenance(start_folder(settings.starts_from, runs=runs))
    return {
        "stage": stage,
        **({} if nouns is None else {"nouns": nouns}),
        **({"licences": licences} if licences else {}),
        **({"photographs": terms} if terms else {}),
        "settings": settings.model_dump(mode="json"),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "starts_from": starts_from,
    }
