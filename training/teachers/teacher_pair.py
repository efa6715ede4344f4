"""The two teachers of a merge, and the student that is made of them before training (stage 0)."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import from_sam_and_clip
from samclip_sdk.modeling.config import ModelConfig
from training.errors import TrainingError
from training.files import check_trained, versions_of
from training.teacher_config import FoundationTeachers, SmallClipSettings, Teachers
from training.teachers.licences import teacher_licences
from training.teachers.pretrained import (
    MOBILE_SAM,
    OpenClip,
    SegmentAnything,
    check_open_clip,
    check_segment_anything,
    load_mobile_sam,
    load_open_clip,
    load_segment_anything,
)
from training.teachers.small import SmallClip, SmallSam
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, load_weights

CLIP_TEACHER, SAM_TEACHER = "clip_teacher", "sam_teacher"
"""The stages that train the small teachers, and their folders among the runs."""


class SmallPair:
    """The small teachers, from two earlier runs; each is loaded when it is first needed.

    Attributes:
        name: the folder of the CLIP, and its image tower.
        tokenizer: none, for CLIP's own serves.
    """

    tokenizer = None

    def __init__(self, model: ModelConfig, clip: SmallClipSettings, *, runs: Path) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs
        self.name = f"{runs / CLIP_TEACHER} {clip.image_tower}"

    @cached_property
    def clip(self) -> SmallClip:
        """The CLIP of the stage clip_teacher."""
        clip = new_clip(self.model, self.clip_settings)
        load_weights(clip, self.runs / CLIP_TEACHER / WEIGHTS_NAME)
        return clip

    @cached_property
    def sam(self) -> SmallSam:
        """The SAM of the stage sam_teacher."""
        sam = SmallSam(build_model(self.model))
        load_weights(sam, self.runs / SAM_TEACHER / WEIGHTS_NAME)
        return sam

    def stage0(self, *, seed: int) -> SamClipModel:
        """Builds a student of copies; the CLIP head's LayerNorm and MLP are drawn by `seed`."""
        student = build_model(self.model, seed=seed)
        SmallSam(student).load_state_dict(self.sam.state_dict())
        student.text_encoder.load_state_dict(self.clip.text_encoder.state_dict())
        student.logit_scale.copy_(self.clip.logit_scale)
        student.start_clip_head()
        return student

    def provenance(self) -> dict[str, Any]:
        """Returns the settings of both trainings."""
        return {
            name: json.loads((self.runs / name / SETTINGS_NAME).read_text(encoding="utf-8"))
            for name in (CLIP_TEACHER, SAM_TEACHER)
        }

    def licences(self) -> dict[str, str]:
        """Returns nothing: both were trained on this repository's corpus."""
        return {}


class FoundationPair:
    """The paper's teachers, an OpenCLIP and a segment-anything model; likewise.

    Attributes:
        name: OpenCLIP's name and tag.
        tokenizer: none, for CLIP's own serves.
    """

    tokenizer = None

    def __init__(self, model: ModelConfig, teachers: FoundationTeachers) -> None:
        self.model = model
        self.teachers = teachers
        self.name = f"{teachers.clip} {teachers.pretrained}"

    @cached_property
    def clip(self) -> OpenClip:
        """The OpenCLIP model; raises TrainingError if it embeds in another width."""
        clip = load_open_clip(self.teachers.clip, self.teachers.pretrained)
        if clip.embed_dim != self.model.embed_dim:
            raise TrainingError(
                f"{self.teachers.clip} embeds in {clip.embed_dim} dimensions, the model "
                f"{self.model.name} in {self.model.embed_dim}: change embed_dim, or the teacher"
            )
        return clip

    @cached_property
    def sam(self) -> SegmentAnything | SmallSam:
        """The segment-anything model, or MobileSAM."""
        if self.teachers.sam == MOBILE_SAM:
            return load_mobile_sam(self.model, self.teachers.sam_checkpoint)
        return load_segment_anything(self.teachers.sam, self.teachers.sam_checkpoint)

    def stage0(self, *, seed: int) -> SamClipModel:
        """Builds a student as `from_sam_and_clip` does."""
        state = {name.removeprefix("model."): x for name, x in self.sam.state_dict().items()}
        return from_sam_and_clip(self.model, sam=state, clip=self.clip.model, seed=seed)

    def provenance(self) -> dict[str, Any]:
        """Returns the settings, and the versions of both packages."""
        versions = versions_of("open_clip_torch", "segment-anything")
        return self.teachers.model_dump(mode="json") | {"versions": versions}

    def licences(self) -> dict[str, str]:
        """Returns the licences of both checkpoints, by `sam` and `clip`."""
        return teacher_licences(self.teachers)


Pair = SmallPair | FoundationPair


def new_clip(model: ModelConfig, settings: SmallClipSettings) -> SmallClip:
    """Builds an untrained small CLIP, from the seed of its settings alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.optimisation.seed)
        return SmallClip(
            model, image_tower=settings.image_tower, resolution=settings.images.resolutions[-1]
        )


def read_clip_settings(runs: Path) -> SmallClipSettings | None:
    """Reads the settings of the small CLIP in `runs`, if any; raises TrainingError if damaged."""
    path = runs / CLIP_TEACHER / SETTINGS_NAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        known = SmallClipSettings.model_fields
        return SmallClipSettings.model_validate({k: x for k, x in content.items() if k in known})
    except (ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is not what the stage clip_teacher wrote") from error


def open_pair(teachers: Teachers, model: ModelConfig, *, runs: Path) -> Pair:
    """Opens the teachers of a merge; raises TrainingError if a small CLIP is missing."""
    if isinstance(teachers, FoundationTeachers):
        return FoundationPair(model, teachers)
    settings = read_clip_settings(runs)
    if settings is None:
        raise TrainingError(f"there is no CLIP teacher in {runs}: run the stage {CLIP_TEACHER}")
    return SmallPair(model, settings, runs=runs)


def check_clip(teachers: Teachers, *, runs: Path) -> None:
    """Looks for the CLIP teacher; raises TrainingError if it is missing."""
    if isinstance(teachers, FoundationTeachers):
        check_open_clip(teachers.clip, teachers.pretrained)
    else:
        check_trained(runs / CLIP_TEACHER)


def check_sam(teachers: Teachers, *, runs: Path) -> None:
    """Looks for the SAM teacher; raises TrainingError if it is missing."""
    if isinstance(teachers, FoundationTeachers):
        check_segment_anything(teachers.sam, teachers.sam_checkpoint)
    else:
        check_trained(runs / SAM_TEACHER)
