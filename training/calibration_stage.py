"""The stage that calibrates: on what its settings say, and into the checkpoint's files."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.runtimes.torch.session import Checkpoint
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress
from training.calibrate import (
    CALIBRATION_NAME,
    NEED_MASKS,
    calibrate_on_captions,
    calibrate_on_photographs,
    calibrate_on_scenes,
)
from training.config import CalibrateConfig
from training.data_config import CaptionedPictures
from training.errors import TrainingWarning
from training.merge_data import shard_pictures
from training.real.captioned_pictures import draw_captioned, read_labels
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs
from training.sources import Composed

_CONFIG_NAME = "config.json"


def calibrate_checkpoint(
    folder: Path,
    settings: CalibrateConfig,
    *,
    composed: Composed,
    device: str,
    on_progress: OnProgress,
) -> tuple[str, ...]:
    """Writes a checkpoint's `calibration.json`, and into its provenance how it came about.

    Returns:
        The thresholds that are left at their defaults, for want of masks.

    Raises:
        TrainingError: the pictures that it is to be calibrated on are not there, or not enough.
    """
    checkpoint = Checkpoint(folder, device=device)
    provenance = settings.model_dump(mode="json")
    kept: tuple[str, ...] = ()
    if settings.photographs is not None:
        asked = AskedPhotographs(
            Photographs(settings.photographs, split="calibration"), seed=settings.seed
        )
        calibration = _on_photographs(
            checkpoint, asked, most_false=settings.most_false, on_progress=on_progress
        )
        provenance["asked"] = len(asked)
    elif settings.pictures is not None:
        calibration = _on_captions(checkpoint, settings, settings.pictures, on_progress)
        kept = NEED_MASKS
        provenance["left_at_defaults"] = list(kept)
    else:
        calibration = calibrate_on_scenes(
            checkpoint,
            composed.corpus,
            scenes=settings.scenes,
            seed=settings.seed,
            most_false=settings.most_false,
            on_progress=on_progress,
        )
    write_calibration(folder, calibration, provenance=provenance)
    return kept


def write_calibration(
    checkpoint: Path, calibration: Calibration, *, provenance: Mapping[str, Any]
) -> None:
    """Writes a checkpoint's `calibration.json`, and into its provenance how it came about.

    Raises:
        StorageError: a file cannot be written; both are as they were.
    """
    content = json.loads((checkpoint / _CONFIG_NAME).read_text(encoding="utf-8"))
    content["provenance"]["calibration"] = dict(provenance)
    with atomic_file(checkpoint / CALIBRATION_NAME) as file:
        file.write(json.dumps(calibration.model_dump(mode="json"), indent=2).encode() + b"\n")
        file.flush()
        with atomic_file(checkpoint / _CONFIG_NAME) as config:
            config.write(json.dumps(content, indent=2).encode() + b"\n")


def _on_photographs(
    checkpoint: Checkpoint,
    asked: AskedPhotographs,
    *,
    most_false: float | None,
    on_progress: OnProgress,
) -> Calibration:
    broken: Counter[str] = Counter()
    calibration = calibrate_on_photographs(
        checkpoint, asked, most_false=most_false, broken=broken, on_progress=on_progress
    )
    if broken:
        warnings.warn(
            f"{broken.total()} of {len(asked)} photographs to calibrate on cannot be used: "
            + ", ".join(f"{kind} {count}" for kind, count in sorted(broken.items())),
            TrainingWarning,
            stacklevel=2,
        )
    return calibration


def _on_captions(
    checkpoint: Checkpoint,
    settings: CalibrateConfig,
    pictures: CaptionedPictures,
    on_progress: OnProgress,
) -> Calibration:
    drawn = draw_captioned(
        shard_pictures(pictures, split="train", on_progress=on_progress),
        count=pictures.count,
        labels=() if pictures.labels is None else read_labels(pictures.labels),
        seed=settings.seed,
    )
    return calibrate_on_captions(
        checkpoint,
        drawn,
        count=pictures.count,
        most_false=settings.most_false,
        on_progress=on_progress,
    )
