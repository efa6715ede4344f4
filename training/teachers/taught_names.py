"""Names whose embeddings fit what is seen under them, on frozen features.

The text teacher knows what words mean. What a picture of them looks like to a finished CLIP head
is a little elsewhere: names are moved there, no further than it pays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import one_line
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from samclip_sdk.text.tokenizer import clean_text
from training.errors import TrainingError
from training.tasks.name_losses import NamedPictures
from training.teachers.text_teacher import SETTINGS_NAME, TextTeacher
from training.teachers.weights import save_weights
from training.text.class_names import imagenet_lemmas
from training.text_config import TaughtNamesConfig

TAUGHT_NAMES = "taught_names"
"""The stage that fits names, and its folder among the runs."""

NAMES_FILE = "names.safetensors"

_LOGIT_SCALE = 20.0
_DISTANCE_WEIGHT = 10.0  # of 1 - cosine beside the cross-entropy, where `keep` is 1
_COOLING = 0.3  # share of the steps in which the learning rate falls to 0


@dataclass(frozen=True)
class Seen:
    """What a model sees in M pictures and regions of pictures, and what these are called.

    Attributes:
        features: float32 [M,E], unit length.
        present: bool [M,N], which of N names each has, one or more.
    """

    features: Tensor
    present: Tensor


def first_embeddings(
    teacher: TextTeacher,
    names: Sequence[str],
    *,
    template: str,
    class_weight: float,
    on_progress: OnProgress = tell_nobody,
) -> dict[str, Tensor]:
    """What names begin with: the teacher's embedding of them, and of the classes that they name.

    Args:
        teacher: of texts.
        names: cleaned; those of ImageNet's classes are added.
        template: {} stands for the name.
        class_weight: of a class's own direction beside its name's.
        on_progress: told how many texts are embedded.

    Returns:
        Each name's [E], unit length.
    """
    classes: dict[str, list[int]] = {}
    for index, lemmas in enumerate(imagenet_lemmas()):
        for lemma in lemmas:
            classes.setdefault(clean_text(lemma), []).append(index)
    every = list(dict.fromkeys([*names, *classes]))
    texts = teacher.embed([template.replace("{}", each) for each in every], on_progress=on_progress)
    for row, name in enumerate(every):
        if name in classes:
            own = F.normalize(teacher.space.class_directions[classes[name]].mean(dim=0), dim=-1)
            texts[row] += class_weight * own
    return dict(zip(every, F.normalize(texts, dim=-1), strict=True))


def fit_names(
    first: Tensor,
    seen: Seen,
    settings: TaughtNamesConfig,
    *,
    on_progress: OnProgress = tell_nobody,
) -> Tensor:
    """Moves the names that something shows; the others stay where they are, and do not compete.

    Args:
        first: embeddings [N,E] of the names, unit length.
        seen: pictures and regions.
        settings: of the stage.
        on_progress: told the steps.

    Returns:
        float32 [N,E], unit length.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    shown = seen.present.any(dim=0)
    present, start = seen.present[:, shown], first[shown]
    # A name that few show counts as much as one that many do, nearly.
    rarity = (present * present.sum(dim=0).float().rsqrt()).amax(dim=1)
    vectors, loss_of = start.clone().requires_grad_(), NamedPictures()
    optimizer = torch.optim.Adam([vectors], lr=settings.learning_rate)
    for step in range(settings.steps):
        left = (settings.steps - step) / (_COOLING * settings.steps)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * min(1.0, left)
        rows = torch.multinomial(rarity, settings.batch, replacement=True, generator=generator)
        moved = F.normalize(vectors, dim=-1)
        logits = _LOGIT_SCALE * seen.features[rows] @ moved.T
        apart = 1 - (moved * start).sum(dim=1).mean()
        loss = loss_of(logits, present[rows], start) + _DISTANCE_WEIGHT * settings.keep * apart
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_progress(f"fitting names, loss {loss.item():.3f}", step + 1, settings.steps)
    found = first.clone()
    found[shown] = F.normalize(vectors.detach(), dim=-1)
    return found


def save_names(names: Mapping[str, Tensor], run: Path, *, provenance: Mapping[str, Any]) -> None:
    """Writes the embeddings [E] of names, by name, and how they came about."""
    save_weights(names, run / NAMES_FILE)
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(f"{json.dumps({'provenance': dict(provenance)}, indent=2)}\n".encode())


def read_name_provenance(run: Path) -> dict[str, Any]:
    """Reads how names came about, as `save_names` was told."""
    provenance: dict[str, Any] = json.loads((run / SETTINGS_NAME).read_bytes())["provenance"]
    return provenance


def read_names(run: Path) -> dict[str, Tensor]:
    """Reads what `save_names` wrote.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    path = run / NAMES_FILE
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path} holds no names ({one_line(error)}): run the stage {run.name} first"
        ) from error
