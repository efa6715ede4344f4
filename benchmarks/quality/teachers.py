"""The teachers of a training run, measured as the model is: how much of them did it keep?

SAM's parts and CLIP's text tower are put into a merged model and go through the public API; only
CLIP's image tower, which the merged model does not have, is run as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality.class_embeddings import embed_classes, rank_pictures
from benchmarks.quality.ranking import Rank
from samclip_sdk import SamClip
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from training.config import ClipTeacherConfig
from training.teachers.small import SmallClip, SmallSam
from training.teachers.teacher_pair import SmallPair


class Teachers:
    """Both teachers of a run.

    Attributes:
        sam: The SAM teacher behind the public API; `segment` is its own, its CLIP head is not.
    """

    def __init__(self, clip: SmallClip, sam: SamClip) -> None:
        self._clip = clip
        self._classes: dict[str, np.ndarray] = {}
        self.sam = sam

    def rank(self, nouns: Sequence[str]) -> Rank:
        """The CLIP teacher as a classifier over nouns, by the same templates as the model."""
        # The splits share most of their nouns.
        missing = [noun for noun in nouns if noun not in self._classes]
        found = embed_classes(self._clip.text_encoder, missing)
        self._classes.update(zip(missing, found, strict=True))
        classes = np.stack([self._classes[noun] for noun in nouns])
        return rank_pictures(self._clip.embed_images, classes=classes)


def load_teachers(run: Path) -> Teachers:
    """Loads the teachers of a config's runs.

    Args:
        run: RUNS/CONFIG, which holds `clip_teacher` and `sam_teacher`.

    Raises:
        OSError: a file is missing.
        ValueError: the folder is not named after a config.
    """
    if run.name not in PRESETS:
        raise ValueError(f"{run} is not the runs of a config: {', '.join(PRESETS)}")
    settings = (run / "clip_teacher" / "config.json").read_text(encoding="utf-8")
    clip_settings = ClipTeacherConfig.model_validate_json(settings)
    pair = SmallPair(PRESETS[run.name], clip_settings, runs=run)
    return join_teachers(pair.clip, pair.sam, config=PRESETS[run.name])


def join_teachers(clip: SmallClip, sam: SmallSam, *, config: ModelConfig) -> Teachers:
    """Puts SAM's parts and CLIP's text tower where the public API can run them."""
    merged = build_model(config)
    SmallSam(merged).load_state_dict(sam.state_dict())
    merged.text_encoder.load_state_dict(clip.text_encoder.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(merged, folder, provenance={})
        return Teachers(clip.eval(), SamClip.load("torch", model=folder))
