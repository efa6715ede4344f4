"""What training left, behind the public API: it is measured as an app would see it.

The teachers are measured as stage 0, which has SAM's parts and CLIP's text tower; only CLIP's image
tower, which a merged model does not have, is run as it is.
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
from samclip_sdk.bundle.manifest import PAD_COLOUR, TOKENIZER_NAME
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.modeling.config import ClipTextConfig, ModelConfig
from samclip_sdk.picture.frame import letterbox
from training.batches import PATCH_PX, stack_images
from training.config_file import find_config, load_model
from training.stages.small_teachers import ClipTeacherConfig
from training.teachers.photograph_pair import CLIP as CLASSIFIER_CLIP
from training.teachers.photograph_pair import PhotographPair
from training.teachers.small import ClipTeacher, DenseClipTeacher
from training.teachers.teacher_pair import SETTINGS_NAME, Pair, SmallPair


def behind_api(
    model: SamClipModel, *, classification_px: int | None = None, tokenizer: Path | None = None
) -> SamClip:
    """Puts a copy of a module behind the public API, in eager torch.

    It classifies at `classification_px`, or at its config's resolution. `tokenizer` is the file
    that its text encoder was trained with, if its vocabulary is its own.
    """
    config = model.config
    if classification_px is not None:
        changed = {"classification_resolution": classification_px}
        config = ModelConfig.model_validate(config.model_dump() | changed)
    copy = build_model(config)
    copy.load_state_dict(model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(copy, folder, provenance={})
        if isinstance(config.text_encoder, ClipTextConfig):  # of which the SDK has the tokenizer
            return SamClip.load("torch", model=folder)
        write_tokenizer(Path(folder, TOKENIZER_NAME), config.text_encoder, own=tokenizer)
        opened = SamClip.load("torch", model=folder)
        opened.embed_text("a photo")  # It reads the tokenizer now: the folder will be gone.
    return opened


@dataclass(frozen=True)
class Teachers:
    """Both teachers of a run: CLIP's image tower, and SAM behind the public API.

    `segment` is SAM's own; its text encoder is the CLIP teacher's, and its CLIP head nobody's.
    """

    clip: ClipTeacher
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

        return lambda image: self.embed(image) @ classes.T

    @torch.inference_mode()
    def embed(self, image: np.ndarray) -> np.ndarray:
        """The CLIP teacher's unit embedding [E] of a picture, uint8 RGB [H,W,3].

        A teacher that knows of padding sees it whole, as the student does.
        """
        if not isinstance(self.clip, DenseClipTeacher):
            return self.clip.embed_images(stack_images([image]))[0].numpy()
        square, frame = letterbox(image, resolution=self.clip.resolution, pad_colour=PAD_COLOUR)
        mask = torch.from_numpy(frame.token_mask(patch_size=PATCH_PX))
        found, _ = self.clip.embed_with_cells(torch.from_numpy(square), mask)
        return found[0].numpy()


def find_teachers(run: Path) -> SmallPair | PhotographPair:
    """The teachers of RUNS/CONFIG, of the kind whose runs are there."""
    path = find_config(run.name)
    model = load_model(path)
    if (run / CLASSIFIER_CLIP).is_dir():
        return PhotographPair(model, runs=run)
    settings = (run / "clip_teacher" / SETTINGS_NAME).read_text(encoding="utf-8")
    return SmallPair(model, ClipTeacherConfig.model_validate_json(settings), runs=run)


def open_teachers(pair: Pair) -> Teachers:
    """Loads both, and puts what a merged model has of them where the public API can run it."""
    return Teachers(pair.clip, behind_api(pair.stage0(seed=0), tokenizer=pair.tokenizer))
