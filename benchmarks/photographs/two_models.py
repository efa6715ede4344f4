"""SAM for the masks and CLIP for their names, one after the other, on photographs.

The pipeline is that of the paper's tables (`benchmarks.paper.text_to_mask`), its thresholds chosen
on pictures that are not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper.text_to_mask import TwoModels
from benchmarks.public.detection import Detect
from benchmarks.quality.behind_api import Teachers, find_teachers, open_teachers
from samclip_sdk import SamClip
from training.asked_pictures import AskedPicture
from training.data_config import Photographs as Settings
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs

_TUNING_PICTURES = 6


@dataclass(frozen=True)
class OwnClip:
    """The CLIP in a merged model: a backbone pass for each crop."""

    model: SamClip

    @property
    def resolution(self) -> int:
        """Of a crop, in pixels."""
        return self.model.manifest.tasks.classification.resolution

    @property
    def embed_dim(self) -> int:
        """E."""
        return self.model.manifest.model.embed_dim

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings [B,E] of crops [B,3,S,S], RGB 0..255."""
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = [self.model.embed_image(np.ascontiguousarray(each)) for each in pixels]
        return torch.from_numpy(np.stack(found))


def by_two_models(
    model: SamClip, root: Path, *, names: Sequence[str], teachers: Path | None, most: int
) -> Detect:
    """The pipeline: of RUNS/CONFIG's teachers, or of the model's own two halves without any.

    `root` holds the sets, whose split "calibration" chooses thresholds. All `names` that will be
    asked are embedded now.
    """
    pair = Teachers(OwnClip(model), model)
    if teachers is not None:
        pair = open_teachers(find_teachers(teachers))
    pair.classes(names)
    photographs = Photographs(Settings(source="photographs", root=root), split="calibration")
    return partial(TwoModels(pair, tuning_pictures(photographs, seed=0)).detect, most=most)


def tuning_pictures(photographs: Photographs, *, seed: int) -> list[AskedPicture]:
    """A few pictures of complete sets that show something, to choose thresholds by."""
    asked = AskedPhotographs(photographs, seed=seed)
    return list(islice((each for each in asked.ask(Counter()) if each.present), _TUNING_PICTURES))
