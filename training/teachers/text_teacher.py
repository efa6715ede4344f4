"""The text teacher: sentences -> the space of a classifier that was taught to recognise images.

MiniLM knows which words are alike, an ImageNet classifier how its classes look. A small map from
the one to the other, fitted by `training.teachers.text_fit`, makes of both a text tower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.errors import one_line
from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError
from training.files import write_json
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, load_weights, save_weights
from training.text.sentences import WIDTH, SentenceEncoder

TEXT_TEACHER = "text_teacher"
"""The stage that fits the text teacher, and its folder among the runs."""


class ClassifierSpace(nn.Module):
    """The space that texts and images meet in: a classifier's, turned and reduced.

    The weight vectors of the classes are centred and normalised; the space has their strongest
    principal directions.

    Args:
        classes: C.
        features: of the classifier, F.
        embed_dim: E, at most C and F.
    """

    axes: Tensor
    class_directions: Tensor

    def __init__(self, *, classes: int, features: int, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("axes", torch.zeros(embed_dim, features))
        self.register_buffer("class_directions", torch.zeros(classes, embed_dim))

    @classmethod
    def of(cls, weight: Tensor, *, embed_dim: int) -> ClassifierSpace:
        """The space of a classifier's weight [C,F]; raises TrainingError if it is too small."""
        if embed_dim > min(weight.shape):
            raise TrainingError(
                f"embed_dim {embed_dim} is above the {min(weight.shape)} directions of the "
                f"classifier, {weight.shape[0]} classes of {weight.shape[1]} features"
            )
        space = cls(classes=weight.shape[0], features=weight.shape[1], embed_dim=embed_dim)
        unit = F.normalize(weight.detach().float() - weight.detach().float().mean(dim=0), dim=-1)
        space.axes.copy_(torch.linalg.svd(unit, full_matrices=False)[2][:embed_dim])
        space.class_directions.copy_(space(unit))
        return space

    def forward(self, features: Tensor) -> Tensor:
        """Maps centred features [...,F], as before the classifier, to unit vectors [...,E]."""
        return F.normalize(features @ self.axes.T, dim=-1)


class TextTeacher(nn.Module):
    """Texts as unit vectors [N,E] of a `ClassifierSpace`.

    Attributes:
        space: what it maps into.
        sentence_mean: float32 [384], which is taken off every sentence's embedding.
        mlp: the map.
    """

    sentence_mean: Tensor

    def __init__(self, space: ClassifierSpace, *, hidden_dim: int) -> None:
        super().__init__()
        self.space = space
        self.hidden_dim = hidden_dim
        self.embed_dim = space.axes.shape[0]
        self.register_buffer("sentence_mean", torch.zeros(WIDTH))
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, self.embed_dim)
        )

    @cached_property
    def sentences(self) -> SentenceEncoder:
        """MiniLM, loaded when it is first asked for; it is in no file of the teacher's."""
        return SentenceEncoder()

    def embed(self, texts: Sequence[str], *, on_progress: OnProgress = no_progress) -> Tensor:
        """Embeds N texts, without a gradient: float32 [N,E], unit length, on the CPU."""
        with torch.no_grad():
            embedded: Tensor = self(self.sentences(texts, on_progress=on_progress))
        return embedded

    def forward(self, sentences: Tensor) -> Tensor:
        """Maps sentence embeddings [N,384] of unit length to unit vectors [N,E]."""
        return self.project(self.centre(sentences))

    def project(self, centred: Tensor) -> Tensor:
        """Maps what `centre` gives [N,384] to unit vectors [N,E]."""
        return F.normalize(self.mlp(centred), dim=-1)

    def centre(self, sentences: Tensor) -> Tensor:
        """Takes the mean off sentence embeddings [N,384], to unit length again."""
        return F.normalize(sentences - self.sentence_mean, dim=-1)


def save_text_teacher(teacher: TextTeacher, folder: Path, *, provenance: Mapping[str, Any]) -> None:
    """Writes a teacher's folder: config.json and model.safetensors, without MiniLM's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    classes, embed_dim = teacher.space.class_directions.shape
    config = {
        "classes": classes,
        "features": teacher.space.axes.shape[1],
        "embed_dim": embed_dim,
        "hidden_dim": teacher.hidden_dim,
        "provenance": dict(provenance),
    }
    save_weights(teacher.state_dict(), folder / WEIGHTS_NAME)
    write_json(folder / SETTINGS_NAME, config)


def load_text_teacher(folder: Path) -> TextTeacher:
    """Loads a teacher, frozen, in eval mode; raises TrainingError if a file is missing."""
    try:
        config = json.loads((folder / SETTINGS_NAME).read_bytes())
        sizes = {name: config[name] for name in ("classes", "features", "embed_dim")}
        teacher = TextTeacher(ClassifierSpace(**sizes), hidden_dim=config["hidden_dim"])
        load_weights(teacher, folder / WEIGHTS_NAME)
    except (OSError, ValueError, KeyError, TypeError, TrainingError) as error:
        raise TrainingError(
            f"{folder} is no text teacher ({one_line(error)}): run the stage text_teacher first"
        ) from error
    return teacher
