"""The pair of teachers that a merge is made of, and the student's birth from the two (stage 0)."""

from __future__ import annotations

import importlib.metadata
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import from_sam_and_clip
from samclip_sdk.modeling.config import ModelConfig
from training.config import ClipTeacherConfig, FoundationTeachers
from training.errors import TrainingError
from training.teachers.licences import teacher_licences
from training.teachers.pretrained import (
    MOBILE_SAM,
    OpenClip,
    SegmentAnything,
    load_mobile_sam,
    load_open_clip,
    load_segment_anything,
)
from training.teachers.small import ClipTeacher, SamTeacher, SmallClip, SmallSam, load_teacher

SETTINGS_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


class Pair(Protocol):
    """Two frozen teachers; each is loaded when it is first asked for."""

    @property
    def clip(self) -> ClipTeacher:
        """The CLIP."""
        ...

    @property
    def sam(self) -> SamTeacher:
        """The SAM."""
        ...

    @property
    def name(self) -> str:
        """Which CLIP it is, with which weights."""
        ...

    @property
    def tokenizer(self) -> Path | None:
        """The `tokenizer.json` of the text encoder, if its vocabulary is its own."""
        ...

    def stage0(self, *, seed: int) -> SamClipModel:
        """SAM's parts, CLIP's text encoder, a CLIP head of copies of SAM's last block."""
        ...

    def provenance(self) -> dict[str, Any]:
        """How the two came about; JSON."""
        ...

    def licences(self) -> dict[str, str]:
        """Under which licences they are; empty where they are this repository's own."""
        ...


class SmallPair:
    """The small teachers, as two earlier runs left them."""

    tokenizer = None

    def __init__(self, model: ModelConfig, clip: ClipTeacherConfig, *, runs: Path) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs

    @cached_property
    def clip(self) -> SmallClip:
        """The CLIP of the run clip_teacher."""
        clip = new_clip(self.model, self.clip_settings)
        load_teacher(clip, self.runs / "clip_teacher" / WEIGHTS_NAME)
        return clip

    @cached_property
    def sam(self) -> SmallSam:
        """The SAM of the run sam_teacher."""
        sam = SmallSam(build_model(self.model))
        load_teacher(sam, self.runs / "sam_teacher" / WEIGHTS_NAME)
        return sam

    @property
    def name(self) -> str:
        """The run of the CLIP, and its image tower."""
        return f"{self.runs / 'clip_teacher'} {self.clip_settings.image_tower}"

    def stage0(self, *, seed: int) -> SamClipModel:
        """Copies from both; LayerNorm and MLP of the CLIP head are drawn by `seed`."""
        student = build_model(self.model, seed=seed)
        SmallSam(student).load_state_dict(self.sam.state_dict())
        student.text_encoder.load_state_dict(self.clip.text_encoder.state_dict())
        student.logit_scale.copy_(self.clip.logit_scale)
        student.start_clip_head()
        return student

    def provenance(self) -> dict[str, Any]:
        """The settings that each was trained with."""
        return {
            name: json.loads((self.runs / name / SETTINGS_NAME).read_text(encoding="utf-8"))
            for name in ("clip_teacher", "sam_teacher")
        }

    def licences(self) -> dict[str, str]:
        """None but this repository's: both were trained on its corpus."""
        return {}


class FoundationPair:
    """The paper's teachers: an OpenCLIP and a segment-anything model."""

    tokenizer = None

    def __init__(self, model: ModelConfig, teachers: FoundationTeachers) -> None:
        self.model = model
        self.teachers = teachers

    @cached_property
    def clip(self) -> OpenClip:
        """The OpenCLIP model.

        Raises:
            TrainingError: it cannot be loaded, or embeds in another width than the student.
        """
        clip = load_open_clip(self.teachers.clip, self.teachers.pretrained)
        check_width(clip.embed_dim, teacher=self.teachers.clip, model=self.model)
        return clip

    @cached_property
    def sam(self) -> SegmentAnything | SmallSam:
        """The segment-anything model, or MobileSAM."""
        if self.teachers.sam == MOBILE_SAM:
            return load_mobile_sam(self.model, self.teachers.sam_checkpoint)
        return load_segment_anything(self.teachers.sam, self.teachers.sam_checkpoint)

    @property
    def name(self) -> str:
        """OpenCLIP's name and tag."""
        return f"{self.teachers.clip} {self.teachers.pretrained}"

    def stage0(self, *, seed: int) -> SamClipModel:
        """As `from_sam_and_clip` has it."""
        state = {name.removeprefix("model."): x for name, x in self.sam.state_dict().items()}
        return from_sam_and_clip(self.model, sam=state, clip=self.clip.model, seed=seed)

    def provenance(self) -> dict[str, Any]:
        """Which they are, and of which packages."""
        packages = ("open_clip_torch", "segment-anything")
        versions = {name: importlib.metadata.version(name) for name in packages}
        return self.teachers.model_dump(mode="json") | {"versions": versions}

    def licences(self) -> dict[str, str]:
        """Those of the checkpoints, by `sam` and `clip`."""
        return teacher_licences(self.teachers)


def check_width(embed_dim: int, *, teacher: object, model: ModelConfig) -> None:
    """Refuses a CLIP teacher that embeds in another width than the student, by TrainingError."""
    if embed_dim != model.embed_dim:
        raise TrainingError(
            f"{teacher} embeds in {embed_dim} dimensions, the model {model.name} in "
            f"{model.embed_dim}: change embed_dim, or the teacher"
        )


def new_clip(model: ModelConfig, settings: ClipTeacherConfig) -> SmallClip:
    """Builds an untrained small CLIP, from the seed of its settings alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.optimisation.seed)
        return SmallClip(
            model, image_tower=settings.image_tower, resolution=settings.pictures.resolutions[-1]
        )
