"""The stage that teaches names: what a finished model sees under them moves their embeddings."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import torch

from samclip_sdk import SamClip
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from samclip_sdk.text.tokenizer import clean_text
from training.errors import TrainingError
from training.real.photographs import Photographs
from training.real.seen_names import look
from training.teachers.taught_names import Seen, first_embeddings, fit_names, save_names
from training.teachers.text_teacher import (
    TEXT_TEACHER,
    load_text_teacher,
    read_text_teacher_provenance,
)
from training.text_config import TaughtNamesConfig

_PACKAGES = ("torch", "onnxruntime", "numpy")


def teach_names(
    settings: TaughtNamesConfig, run: Path, *, on_progress: OnProgress = tell_nobody
) -> None:
    """Fits the names of photographs, and writes them into `run`.

    Args:
        settings: of the stage.
        run: the folder of the names; the text teacher's is beside it.
        on_progress: told what is being done.

    Raises:
        TrainingError: the model has another width than the text teacher, or saw nothing.
        SamClipError: the model cannot be opened.
    """
    teacher = load_text_teacher(run.parent / TEXT_TEACHER)
    photographs = Photographs(settings.photographs, split="train")
    with SamClip.load(settings.runtime, model=settings.model) as model:
        seen_by = {"name": model.manifest.name, "id": model.source.id}
        if (width := model.manifest.model.embed_dim) != teacher.embed_dim:
            raise TrainingError(
                f"{settings.model} has the width {width}, the text teacher {teacher.embed_dim}: "
                "give a model that was taught by it"
            )
        sights = list(
            look(
                model,
                photographs,
                whole_per_name=settings.whole_per_name,
                masked_per_name=settings.masked_per_name,
                seed=settings.seed,
                on_progress=on_progress,
            )
        )
    if not sights:
        raise TrainingError(f"no photograph below {settings.photographs.root} has a name")
    first = first_embeddings(
        teacher,
        sorted({clean_text(name) for name in photographs.names}),
        template=settings.template,
        class_weight=settings.class_weight,
        on_progress=on_progress,
    )
    places = {name: place for place, name in enumerate(first)}
    present = torch.zeros(len(sights), len(first), dtype=torch.bool)
    for row, (_, names) in enumerate(sights):
        present[row, [places[clean_text(name)] for name in names]] = True
    seen = Seen(torch.stack([torch.from_numpy(feature) for feature, _ in sights]), present)
    fitted = fit_names(torch.stack([*first.values()]), seen, settings, on_progress=on_progress)
    provenance = {
        "stage": run.name,
        "settings": settings.model_dump(mode="json"),
        "seen_by": seen_by,
        "sights": len(sights),
        "names": len(first),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "starts_from": read_text_teacher_provenance(run.parent / TEXT_TEACHER),
    }
    run.mkdir(parents=True, exist_ok=True)
    save_names(dict(zip(first, fitted, strict=True)), run, provenance=provenance)
