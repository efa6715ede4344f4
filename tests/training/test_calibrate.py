from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.runtimes.pytorch import Checkpoint
from training.calibrate import (
    CALIBRATION_NAME,
    NEED_MASKS,
    calibrate_on_captions,
    calibrate_on_scenes,
    write_calibration,
)
from training.composed.corpus import Corpus
from training.real.captioned_pictures import CaptionedPicture

SCALE = UNCALIBRATED.model_copy(update={"scale": 25.0})


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that has a calibration already, of other weights."""
    target = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, target)
    write_tokenizer(target / "tokenizer.json")
    (target / CALIBRATION_NAME).write_text(SCALE.model_dump_json(), encoding="utf-8")
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_calibration_on_scenes_depends_on_the_weights_alone(folder: Path, corpus: Corpus) -> None:
    """Whatever calibration lies in the folder, the same is found, and the folder stays as it is."""
    before = contents(folder)
    found = calibrate_on_scenes(Checkpoint(folder), corpus, scenes=3, seed=0)
    assert contents(folder) == before
    (folder / CALIBRATION_NAME).unlink()
    assert calibrate_on_scenes(Checkpoint(folder), corpus, scenes=3, seed=0) == found
    assert found.scale != SCALE.scale


def test_a_stop_in_the_middle_leaves_the_calibration_before(folder: Path, corpus: Corpus) -> None:
    """Trial thresholds once lay in the folder, and after a kill counted as final."""
    before = contents(folder)
    told: list[int] = []

    def stop_at_the_last(message: str, done: int, total: int) -> None:
        assert contents(folder) == before
        told.append(done)
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate_on_scenes(
            Checkpoint(folder), corpus, scenes=3, seed=0, on_progress=stop_at_the_last
        )
    assert told == [0, 1, 2, 3], "three scenes, and one of them again for the points"
    assert contents(folder) == before


def test_what_is_written_is_read_back_and_its_provenance_too(folder: Path) -> None:
    write_calibration(folder, UNCALIBRATED, provenance={"scenes": 3})
    stored = (folder / CALIBRATION_NAME).read_bytes()
    assert Calibration.model_validate_json(stored) == UNCALIBRATED
    with SamClip.load("torch", model=folder) as model:
        assert model.manifest.calibration == UNCALIBRATED
        assert model.manifest.provenance["calibration"] == {"scenes": 3}


def test_captions_choose_scores_and_presence_and_leave_the_rest(folder: Path) -> None:
    """A picture shows the texts that the model itself likes more than half of all it is asked.

    So one threshold tells all answers apart, and must be found; the pictures are half padding,
    where the model likes what it likes.
    """
    rng = np.random.default_rng(0)
    texts = [f"thing {number}" for number in range(8)]
    images = [np.full((30, 60, 3), rng.integers(0, 256, 3, np.uint8), np.uint8) for _ in range(12)]
    source = Checkpoint(folder)
    with SamClip(source) as model:
        liked = np.stack(
            [model.segment_text(each, texts, refine=False).presence for each in images]
        )
    shown = liked > np.median(liked)
    pictures = [
        CaptionedPicture(
            image,
            present=tuple(text for text, is_shown in zip(texts, row, strict=True) if is_shown),
            absent=tuple(text for text, is_shown in zip(texts, row, strict=True) if not is_shown),
        )
        for image, row in zip(images, shown, strict=True)
    ]
    told: list[tuple[int, int]] = []
    found = calibrate_on_captions(
        source, pictures, count=12, on_progress=lambda _, done, total: told.append((done, total))
    )
    assert told == [(done, 12) for done in range(13)]
    for name in NEED_MASKS:
        assert getattr(found, name) == getattr(UNCALIBRATED, name)
    write_calibration(folder, found, provenance={})
    with SamClip.load("torch", model=folder) as model:
        answers = [model.segment_text(each, texts, refine=False).presence for each in images]
    wrong = (np.stack(answers) >= found.presence_threshold) != shown
    assert wrong.sum() <= 1, "the answer that lies on the threshold may be rounded to either side"
