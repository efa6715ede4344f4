"""The stage that calibrates a checkpoint: scores and thresholds. No weight changes."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.runtimes.torch.session import Checkpoint
from samclip_sdk.system.atomic_file import atomic_file
from training.calibrate import (
    CALIBRATION_NAME,
    calibrate_on_photographs,
    calibrate_on_scenes,
)
from training.data_config import Photographs as PhotographsSettings
from training.errors import TrainingError, TrainingWarning
from training.files import check_trained, write_json
from training.loop.pace import Pace, peak_bytes
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs, find_sets
from training.stage import Stage, StageSettings, start_folder
from training.teachers.weights import SETTINGS_NAME


class CalibrateConfig(StageSettings):
    """Scores and thresholds of text-to-mask and of everything-mode.

    Args:
        checkpoint: a stage's name or a folder.
        scenes: number of composed scenes to choose them on; 0 if there are photographs.
        photographs: sets whose complete ones in the split "calibration" they are chosen on.
        max_false: the largest share of absent labels that may be found; None balances misses and
            false alarms.
        object_precision: on photographs, the share of right objects among those that are told by
            default; None leaves objects without a calibrated score.
        labels_stay: whether the checkpoint keeps its scores and thresholds of labels, so that only
            those of everything-mode and of objects are chosen.
        box_margin: where a box's mask ends, as a share of the box's sides on each side; None for
            nowhere, as in SAM.
    """

    one_process = True

    task: Literal["calibrate"]
    checkpoint: str
    scenes: int = Field(default=0, ge=0)
    photographs: PhotographsSettings | None = None
    max_false: float | None = Field(default=None, ge=0, lt=1)
    object_precision: float | None = Field(default=None, gt=0, lt=1)
    labels_stay: bool = False
    box_margin: float | None = Field(default=None, ge=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> CalibrateConfig:
        if bool(self.scenes) == bool(self.photographs):
            raise ValueError("give one of scenes, a number of them, and photographs, a table")
        if self.labels_stay and not self.photographs:
            raise ValueError("labels_stay needs photographs, a table")
        return self

    def check(self, *, runs: Path) -> None:
        """Looks for the checkpoint and the data; raises TrainingError if one is missing."""
        folder = start_folder(self.checkpoint, runs=runs)
        check_trained(folder)
        if self.labels_stay and not (folder / CALIBRATION_NAME).is_file():
            raise TrainingError(
                f"{folder.absolute()} has no {CALIBRATION_NAME}, so labels_stay finds nothing that "
                "could stay: calibrate its labels first, by a stage without labels_stay"
            )
        if self.photographs is not None:
            find_sets(self.photographs)

    def run(self, stage: Stage) -> Path:
        """Writes a checkpoint's `calibration.json`, and its origin into the provenance."""
        folder = start_folder(self.checkpoint, runs=stage.runs)
        of = "mask_calibration" if self.labels_stay else "calibration"
        calibration, provenance = self._calibrate(stage)
        bounded = calibration.model_copy(update={"box_margin": self.box_margin})
        write_calibration(folder, bounded, provenance, of=of)
        return folder

    def smoke(self, stage: Stage, *, steps: int) -> Pace:
        """Asks a few images, writes nothing, and measures how long the stage will take."""
        began, watched = time.monotonic(), _Watched(steps)
        with suppress(_Enough):
            self._calibrate(replace(stage, on_progress=watched))
        seconds = time.monotonic() - (watched.began or began)
        rate = max(watched.done, 1) / seconds
        return Pace(
            whole=f"{watched.total:,} questions",
            images_per_s=rate,
            peak_bytes=peak_bytes(stage.fabric),
            hours=watched.total / rate / 3600,
        )

    def _calibrate(self, stage: Stage) -> tuple[Calibration, dict[str, Any]]:
        folder = start_folder(self.checkpoint, runs=stage.runs)
        checkpoint = Checkpoint(folder, device=str(stage.fabric.device))
        provenance = self.model_dump(mode="json")
        if self.photographs is None:
            calibration = calibrate_on_scenes(
                checkpoint,
                stage.composed.corpus,
                scenes=self.scenes,
                seed=self.seed,
                max_false=self.max_false,
                on_progress=stage.on_progress,
            )
            return calibration, provenance
        photographs = Photographs(self.photographs, split="calibration")
        asked, broken = AskedPhotographs(photographs, seed=self.seed), Counter[str]()
        calibration = calibrate_on_photographs(
            checkpoint,
            asked,
            labels=checkpoint.manifest.calibration if self.labels_stay else None,
            max_false=self.max_false,
            object_precision=self.object_precision,
            broken=broken,
            on_progress=stage.on_progress,
        )
        if broken:
            warnings.warn(
                f"{broken.total()} of {len(asked)} photographs to calibrate on cannot be used: "
                + ", ".join(f"{kind} {count}" for kind, count in sorted(broken.items())),
                TrainingWarning,
                stacklevel=2,
            )
        return calibration, provenance | {"asked": len(asked)}


class _Enough(Exception):
    """Ends a smoke run."""


class _Watched:
    """Progress of a smoke run, which ends after `steps` questions; the first one is not timed."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = self.total = 0
        self.began: float | None = None

    def __call__(self, message: str, done: int, total: int) -> None:
        self.total, self.done = total, done - 1
        if done == 1:
            self.began = time.monotonic()
        if done > self.steps or done >= total:
            raise _Enough


def write_calibration(
    checkpoint: Path,
    calibration: Calibration,
    provenance: Mapping[str, Any],
    *,
    of: str = "calibration",
) -> None:
    """Writes a checkpoint's `calibration.json`, and its origin into the provenance, as `of`.

    Raises:
        StorageError: a file cannot be written. Both files are unchanged.
    """
    content = json.loads((checkpoint / SETTINGS_NAME).read_bytes())
    content["provenance"][of] = dict(provenance)
    with atomic_file(checkpoint / CALIBRATION_NAME) as file:
        file.write(json.dumps(calibration.model_dump(mode="json"), indent=2).encode() + b"\n")
        file.flush()
        write_json(checkpoint / SETTINGS_NAME, content)
