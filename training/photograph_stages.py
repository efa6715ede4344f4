"""What only photographs with names can teach: the CLIP teacher's head for cells."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from samclip_sdk.modeling.classifier_head import pool_unpadded
from samclip_sdk.modeling.config import ModelConfig
from training.config import ClassifierClipConfig
from training.data_config import LabelledPhotographs
from training.real.labelled_cells import LabelledCells
from training.real.photographs import Photographs
from training.sources import VALIDATION_SEED
from training.tasks.cells import CellTask
from training.teachers.classifier_clip import ClassifierClip, give_trained
from training.teachers.text_teacher import TEXT_TEACHER, WEIGHTS_NAME, load_text_teacher
from training.text.class_names import imagenet_lemmas

_CENTRED_ON = 16  # batches of pictures whose mean is taken off all others


def new_cell_task(settings: ClassifierClipConfig, *, model: ModelConfig, runs: Path) -> CellTask:
    """Builds a CLIP teacher whose head is untrained, or trained before, and what teaches that.

    Args:
        settings: of the stage.
        model: the student's.
        runs: folder of the runs, with the text teacher's.

    Raises:
        TrainingError: the text teacher, a package or a set of photographs is missing; or the
            model's CLIP head is of another kind.
    """
    text = load_text_teacher(runs / TEXT_TEACHER)
    seed = settings.optimisation.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = ClassifierClip(model, resolution=settings.resolution)
    train = _cells(settings.photographs, seed=seed, training=True)
    validation = None
    if settings.optimisation.validation is not None:
        validation = _cells(settings.photographs, seed=VALIDATION_SEED, training=False)
    if settings.starts_from is None:
        clip.start_in(text.space, centre=_mean_features(clip, train))
    else:
        give_trained(clip, settings.starts_from / WEIGHTS_NAME)
    classes = [lemmas[0] for lemmas in imagenet_lemmas()]
    names = list(dict.fromkeys((*train.names, *classes)))
    return CellTask(
        clip,
        train,
        names=text.embed([settings.template.replace("{}", name) for name in names]),
        classes=torch.tensor([names.index(name) for name in classes]),
        validation=validation,
    )


def _cells(settings: LabelledPhotographs, *, seed: int, training: bool) -> LabelledCells:
    photographs = Photographs(settings, split="train" if training else "calibration")
    return LabelledCells(photographs, settings, seed=seed, augment=training)


def _mean_features(clip: ClassifierClip, dataset: LabelledCells) -> Tensor:
    """What the classifier pools of photographs, on average, float32 [F]."""
    means = []
    for index in range(_CENTRED_ON):
        batch = dataset[index]
        features = clip.head.features(clip.see(batch["images"]))
        means.append(pool_unpadded(features, batch["token_mask"]).mean(dim=0))
    return torch.stack(means).mean(dim=0)
