"""What training left, behind the public API: it is measured as an app would see it.

The teachers of a run are found by its own settings. They are measured as stage 0, which has SAM's
parts and CLIP's text tower; CLIP's image tower, which a merged model has not, is run as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.metrics.names import Rank
from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import read_config, read_provenance, save_checkpoint
from samclip_sdk.modeling.config import ClipTextConfig
from samclip_sdk.text.vocabulary import encode_vocabulary
from training.batches import stack_images
from training.errors import TrainingError
from training.teacher_config import FoundationTeachers
from training.teachers.small import ClipTeacher
from training.teachers.teacher_pair import (
    WEIGHTS_NAME,
    FoundationPair,
    Pair,
    SmallPair,
    read_clip_settings,
)


def by_logits(model: SamClip, nouns: Sequence[str]) -> Rank:
    """Ranks nouns by a model's own classification."""
    labels = list(nouns)
    return lambda image: model.classify(image, labels).logits


def give_embeddings(samclip: SamClip, labels: Sequence[str], embeddings: np.ndarray) -> None:
    """Gives a model the embeddings [K,E] of K labels, so that its text encoder need not run."""
    content = encode_vocabulary(labels, embeddings=embeddings, manifest=samclip.manifest)
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "vocabulary.safetensors"
        pack.write_bytes(content)
        samclip.load_vocabulary(pack)


def behind_api(model: SamClipModel, *, tokenizer: Path | None = None) -> SamClip:
    """Puts a copy of a module behind the public API, in eager torch.

    `tokenizer` is the file that its text encoder was trained with, if its vocabulary is its own.
    """
    encoder = model.config.text_encoder
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, folder, provenance={})
        if isinstance(encoder, ClipTextConfig):  # of which the SDK has the tokenizer
            return SamClip.load("torch", model=folder)
        write_tokenizer(Path(folder, TOKENIZER_NAME), encoder, own=tokenizer)
        opened = SamClip.load("torch", model=folder)
        opened.embed_text("a photo")  # It reads the tokenizer now: the folder will be gone.
    return opened


@dataclass(frozen=True)
class Teachers:
    """Both teachers of a run: CLIP's image tower, and SAM behind the public API.

    `sam` segments as SAM; its text encoder is the CLIP teacher's, and its CLIP head nobody's.
    """

    clip: ClipTeacher
    sam: SamClip

    def classes(self, nouns: Sequence[str]) -> np.ndarray:
        """The CLIP teacher's embeddings of K nouns, float32 [K,E]; each is computed once."""
        return self.sam.embed_labels(nouns)

    def rank(self, nouns: Sequence[str]) -> Rank:
        """The CLIP teacher as a classifier over nouns, by the same templates as the model."""
        classes = self.classes(nouns)
        return lambda image: self.embed(image) @ classes.T

    @torch.inference_mode()
    def embed(self, image: np.ndarray) -> np.ndarray:
        """The CLIP teacher's unit embedding [E] of an image, uint8 RGB [H,W,3]."""
        return self.clip.embed_images(stack_images([image]))[0].numpy()


def find_student(run: Path) -> Path:
    """The folder of a run's merged model that the most stages led to.

    Raises:
        TrainingError: there is none.
    """
    found: dict[Path, int] = {}
    for folder in sorted(each.parent for each in run.glob(f"*/{WEIGHTS_NAME}")):
        with suppress(BundleError):  # of a teacher, which is no model
            read_config(folder)
            found[folder] = len([*_stages(folder)])
    if not any(found.values()):
        raise TrainingError(f"no folder in {run} has a merged model: train one, or name its run")
    return max(found, key=lambda each: (found[each], each.name))


def _stages(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The provenance of a checkpoint, then of what it started from, and so on."""
    told: Any = read_provenance(folder)
    while isinstance(told, Mapping):
        yield told
        told = told.get("starts_from")


def find_pair(student: Path) -> Pair:
    """The teachers of a student, of the kind that its provenance names.

    Raises:
        TrainingError: the provenance names no teachers that there still are.
    """
    model, run = read_config(student), student.parent
    for told in _stages(student):
        teachers = told.get("settings", {}).get("teachers")
        match teachers and teachers["kind"]:
            case "small" if clip := read_clip_settings(run):
                return SmallPair(model, clip, runs=run)
            case "foundation":
                return FoundationPair(model, FoundationTeachers.model_validate(teachers))
    raise TrainingError(f"{student} was made of no teachers that its provenance names")


def open_run(run: Path) -> Teachers:
    """Both teachers of the last student of RUNS/CONFIG."""
    return open_teachers(find_pair(find_student(run)))


def open_teachers(pair: Pair) -> Teachers:
    """Loads both, and puts what a merged model has of them where the public API can run it."""
    return Teachers(pair.clip, behind_api(pair.stage0(seed=0), tokenizer=pair.tokenizer))
