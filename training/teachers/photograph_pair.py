"""The pair of teachers that know photographs, and the student's birth from them (stage 0)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_config
from samclip_sdk.modeling.config import ModelConfig
from training.errors import TrainingError
from training.teachers.classifier_clip import ClassifierClip, load_classifier_clip
from training.teachers.efficientnet_lite import LICENCE
from training.teachers.small import SmallSam, load_teacher
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, give_weights, read_weights

CLIP, SAM, TEXT_ENCODER = PARTS = ("classifier_clip", "sam_teacher", "text_encoder")
"""The stages that make them."""

_FIRST, _LAST = ".mlp.0.weight", ".mlp.2.weight"


class PhotographPair:
    """A `ClassifierClip` and a small SAM, as earlier runs left them, and a text encoder.

    Args:
        model: the student's, and the SAM's; that of `merged`, if there is one.
        runs: folder of the runs, one a stage: those of `PARTS`.
        merged: the stage whose merged model stands for the SAM and the text encoder, if it is all
            that was kept of them.
    """

    def __init__(self, model: ModelConfig, *, runs: Path, merged: str | None = None) -> None:
        self.model = model if merged is None else read_config(runs / merged)
        self.runs = runs
        self.merged = merged

    @cached_property
    def clip(self) -> ClassifierClip:
        """The CLIP teacher."""
        folder = self.runs / CLIP
        path = folder / SETTINGS_NAME
        try:
            resolution = int(json.loads(path.read_bytes())["resolution"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path} is not what the stage classifier_clip wrote") from error
        return load_classifier_clip(folder / WEIGHTS_NAME, model=self.model, resolution=resolution)

    @cached_property
    def sam(self) -> SmallSam:
        """The SAM teacher."""
        if self.merged is not None:
            return SmallSam(load_checkpoint(self.runs / self.merged)).eval().requires_grad_(False)
        sam = SmallSam(build_model(self.model))
        load_teacher(sam, self.runs / SAM / WEIGHTS_NAME)
        return sam

    @property
    def name(self) -> str:
        """The run of the CLIP teacher."""
        return str(self.runs / CLIP)

    @property
    def tokenizer(self) -> Path:
        """The `tokenizer.json` of the text encoder."""
        return self.runs / (self.merged or TEXT_ENCODER) / TOKENIZER_NAME

    def stage0(self, *, seed: int) -> SamClipModel:
        """SAM's parts, the text encoder, and the CLIP teacher's head."""
        student = build_model(self.model, seed=seed)
        SmallSam(student).load_state_dict(self.sam.state_dict())
        if self.merged is not None:
            student.text_encoder = load_checkpoint(self.runs / self.merged).text_encoder
        else:
            path = self.runs / TEXT_ENCODER / WEIGHTS_NAME
            give_weights(student.text_encoder, read_weights(path), path)
        head = student.clip_head
        begun = {key: x for key, x in head.state_dict().items() if ".objects." in key}
        head.load_state_dict(begun | narrowed(self.clip.head.state_dict(), head))
        with torch.no_grad():
            student.logit_scale.copy_(self.clip.logit_scale)
        return student

    def provenance(self) -> dict[str, Any]:
        """The settings that each was trained with."""
        return {
            name: json.loads((self.runs / name / SETTINGS_NAME).read_text(encoding="utf-8"))
            for name in PARTS
        }

    def licences(self) -> dict[str, str]:
        """Those of what was trained before: the classifier and MiniLM. Sets have their terms."""
        return {"sam": LICENCE, "clip": LICENCE}


def narrowed(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state, of whose MLPs as many units are left as the module has.

    The units of an MLP are `<name>.mlp.0.weight` [n,C,1,1], its bias [n] and the columns of
    `<name>.mlp.2.weight` [C,n,1,1]. Those stay whose two lengths have the greatest product.
    """
    fitted, own = dict(state), module.state_dict()
    for name in [name for name in own if name.endswith(_FIRST)]:
        first, last = state[name], state[name.replace(_FIRST, _LAST)]
        adds = first.flatten(1).norm(dim=1) * last.transpose(0, 1).flatten(1).norm(dim=1)
        kept = adds.topk(len(own[name])).indices.sort().values
        bias = name.replace("weight", "bias")
        fitted |= {name: first[kept], bias: state[bias][kept]}
        fitted[name.replace(_FIRST, _LAST)] = last[:, kept]
    return fitted
