"""What training left, behind the public API: it is measured as an app would see it.

Of the teachers, SAM's parts and CLIP's text tower are put into a merged model; only CLIP's image
tower, which the merged model does not have, is run as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.ranking import Rank, embed_nouns
from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from samclip_sdk.text.vocabulary import encode_vocabulary
from training.config import ClipTeacherConfig
from training.teachers.small import SmallClip, SmallSam
from training.teachers.teacher_pair import SETTINGS_NAME, SmallPair


def behind_api(model: SamClipModel, *, classification_px: int | None = None) -> SamClip:
    """Puts a copy of a module behind the public API, in eager torch.

    It classifies at `classification_px`, or at its config's resolution.

    Raises:
        ValueError: the model does not run at that resolution.
    """
    config = model.config
    if classification_px is not None:
        changed = {"classification_resolution": classification_px}
        config = ModelConfig.model_validate(config.model_dump() | changed)
    copy = build_model(config)
    copy.load_state_dict(model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(copy, folder, provenance={})
        length = config.text_encoder.context_length
        write_tokenizer(Path(folder, TOKENIZER_NAME), context_length=length)
        opened = SamClip.load("torch", model=folder)
        opened.embed_text("a photo")  # It reads the tokenizer now: the folder will be gone.
    return opened


def teach_nouns(model: SamClip, nouns: Sequence[str], *, embeddings: np.ndarray) -> None:
    """Gives a model the embeddings [K,E] of K nouns, so that its text encoder need not run."""
    pack = encode_vocabulary(nouns, embeddings=embeddings, manifest=model.manifest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "nouns.json")
        path.write_bytes(pack)
        model.load_vocabulary(path)


@dataclass(frozen=True)
class Teachers:
    """Both teachers of a run: CLIP's image tower, and SAM behind the public API.

    `segment` is SAM's own; its text encoder is the CLIP teacher's, and its CLIP head nobody's.
    """

    clip: SmallClip
    sam: SamClip
    _known: dict[str, np.ndarray] = field(default_factory=dict)

    def classes(self, nouns: Sequence[str]) -> np.ndarray:
        """The CLIP teacher's embeddings of K nouns, float32 [K,E]; each is computed once."""
        if missing := [noun for noun in nouns if noun not in self._known]:
            self._known.update(zip(missing, embed_nouns(self.sam, missing), strict=True))
        return np.stack([self._known[noun] for noun in nouns])

    def rank(self, nouns: Sequence[str]) -> Rank:
        """The CLIP teacher as a classifier over nouns, by the same templates as the model."""
        classes = self.classes(nouns)

        def rank(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                found = self.clip.embed_images(torch.from_numpy(images).permute(0, 3, 1, 2))
            scores: np.ndarray = found.numpy() @ classes.T
            return scores

        return rank


def load_teachers(run: Path) -> Teachers:
    """Loads the teachers of RUNS/CONFIG, which holds `clip_teacher` and `sam_teacher`.

    Raises:
        OSError: a file is missing.
        ValueError: the folder is not named after a config.
    """
    if run.name not in PRESETS:
        raise ValueError(f"{run} is not the runs of a config: {', '.join(PRESETS)}")
    settings = (run / "clip_teacher" / SETTINGS_NAME).read_text(encoding="utf-8")
    pair = SmallPair(PRESETS[run.name], ClipTeacherConfig.model_validate_json(settings), runs=run)
    return join_teachers(pair.clip, pair.sam, config=PRESETS[run.name])


def join_teachers(clip: SmallClip, sam: SmallSam, *, config: ModelConfig) -> Teachers:
    """Puts SAM's parts and CLIP's text tower where the public API can run them."""
    merged = build_model(config)
    SmallSam(merged).load_state_dict(sam.state_dict())
    merged.text_encoder.load_state_dict(clip.text_encoder.state_dict())
    return Teachers(clip.eval(), behind_api(merged))
