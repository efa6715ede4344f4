from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from export.tokenizer import write_tokenizer
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.runtimes.torch.session import Checkpoint
from tests.training.photograph_files import annotation, encode, sample_image, write_set
from training.asked_images import ask_scenes
from training.calibrate import (
    CALIBRATION_NAME,
    calibrate_on_photographs,
    calibrate_on_scenes,
)
from training.composed.corpus import Corpus
from training.data_config import Photographs
from training.errors import TrainingError
from training.object_scores import Judged, fit_object_score
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs as OpenedPhotographs
from training.stages.calibrate import write_calibration

CALIBRATION = {"split": "calibration"}
SCALE = UNCALIBRATED.model_copy(update={"scale": 25.0})


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that has a calibration already, of other weights."""
    target = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, target)
    write_tokenizer(target / "tokenizer.json")
    (target / CALIBRATION_NAME).write_text(SCALE.model_dump_json(), encoding="utf-8")
    return target


def load_photographs(root: Path) -> AskedPhotographs:
    settings = Photographs(source="photographs", root=root)
    return AskedPhotographs(OpenedPhotographs(settings, split="calibration"), seed=0)


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


def test_photographs_that_are_scenes_calibrate_alike(
    folder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    """Each scene is written as a complete set whose categories are what the scene is asked for."""
    source, root = Checkpoint(folder), tmp_path / "photographs"
    with SamClip(source) as model:
        for number, asked in enumerate(ask_scenes(model, corpus, scenes=2, seed=0)):
            masks = zip(range(1, 9), asked.masks, strict=False)
            write_set(
                root / str(number),
                [(encode(asked.image), [annotation(*each) for each in masks], CALIBRATION)],
                categories=asked.labels,
                info={"complete": True},
            )
    before, broken = contents(folder), Counter[str]()
    told: list[int] = []
    found = calibrate_on_photographs(
        source,
        load_photographs(root),
        broken=broken,
        on_progress=lambda _, done, total: told.append(done),
    )
    expected = calibrate_on_scenes(source, corpus, scenes=2, seed=0)
    for name in ("scale", "bias", "presence_threshold", "head_only_threshold"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-4), name
    assert told == [*range(11), *range(3)], "two images, five times, and once for everything"
    assert contents(folder) == before
    assert not broken


def test_no_more_absent_labels_are_found_than_allowed(folder: Path, tmp_path: Path) -> None:
    """Images are half padding, of which nothing may be learned."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 48, 128, 3), np.uint8)
    whole = np.ones((48, 128), bool)
    write_set(
        tmp_path / "photographs" / "a",
        [(encode(each), [annotation(1, whole)], CALIBRATION) for each in pixels],
        categories=["sky", "tree", "dog"],
        info={"complete": True},
    )
    asked = load_photographs(tmp_path / "photographs")
    found = calibrate_on_photographs(Checkpoint(folder), asked, max_false=0.3, broken=Counter())
    write_calibration(folder, found, {})
    with SamClip.load("torch", model=folder) as model:
        found_too = [
            model.segment_text(each.image, each.absent).mask(label).any()
            for each in asked.ask(Counter())
            for label in each.absent
        ]
    assert len(found_too) == 8
    assert sum(found_too) <= 2


def test_labels_stay_where_masks_alone_are_calibrated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are judged as the checkpoint finds them with its own labels, and with what is new."""
    rng = np.random.default_rng(0)
    judged = Judged(rng.random((40, 3)), rng.random(40) < 0.5, 40)
    asked_with: list[Calibration] = []

    def judge(model: SamClip, *_: object, **__: object) -> Judged:
        asked_with.append(model.manifest.calibration)
        return judged

    monkeypatch.setattr("training.calibrate.judge", judge)
    monkeypatch.setattr(
        "training.calibrate.calibrate_everything", lambda *_, **__: {"pred_iou_thresh": 0.3}
    )
    write_set(tmp_path / "a", [(sample_image(), [], CALIBRATION)], info={"complete": True})
    photographs = load_photographs(tmp_path)
    found = calibrate_on_photographs(
        Checkpoint(folder), photographs, labels=SCALE, object_precision=0.6, broken=Counter()
    )
    expected = SCALE.model_copy(update={"pred_iou_thresh": 0.3})
    assert asked_with == [expected]
    assert found.objects == fit_object_score(judged, precision=0.6)
    assert found.model_copy(update={"objects": None}) == expected


def test_photographs_that_show_nothing_are_no_answer(folder: Path, tmp_path: Path) -> None:
    write_set(tmp_path / "a", [(sample_image(), [], CALIBRATION)], info={"complete": True})
    with pytest.raises(TrainingError, match="of 1 images to calibrate on, none shows what"):
        calibrate_on_photographs(Checkpoint(folder), load_photographs(tmp_path), broken=Counter())


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
    assert told == list(range(9)), "three scenes, one of them again and again, and all once more"
    assert contents(folder) == before
