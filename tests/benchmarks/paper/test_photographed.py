"""The paper's parts on photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper import probe_data
from benchmarks.paper.probe_data import frequent_nouns, middle, square_scene
from benchmarks.paper.probing import measure_probing
from benchmarks.paper.run import Inputs, measure_teachers, measure_text_to_mask, open_inputs
from benchmarks.paper.words import BACKBONES, names_of
from benchmarks.quality.photographs import ValPhotographs
from benchmarks.table import read_table
from samclip_sdk.errors import BundleError
from tests.benchmarks.measured import found_by, measure
from tests.benchmarks.paper.photograph_run import write_photographs, write_run

CLASSES = ["beagle", "crane", "tench"]


@pytest.fixture(scope="module", autouse=True)
def few_classes() -> Iterator[None]:
    """A thousand names in eighty templates each would take the text encoder minutes."""
    with pytest.MonkeyPatch.context() as patch:
        stands_for = {"tinca tinca": frozenset(["tench"])}
        found = (CLASSES, stands_for)
        patch.setattr("benchmarks.quality.photographs.imagenet_names", lambda: found)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ValPhotographs:
    root = write_photographs(tmp_path_factory.mktemp("photographs"))
    return ValPhotographs(root, images=9, scenes=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mobile")


@pytest.fixture(scope="module")
def inputs(run: Path, dataset: ValPhotographs) -> Inputs:
    return open_inputs(run, dataset)


def test_the_middle_of_an_image_and_of_its_masks(dataset: ValPhotographs) -> None:
    wide = np.arange(8, dtype=np.uint8).repeat(3).reshape(1, 8, 3).repeat(4, axis=0)
    assert middle(wide, size_px=4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert middle(wide[..., 0] > 3, size_px=2).tolist() == [[False, True]] * 2
    found = dataset.photographs
    halves = next(each for each in range(len(found)) if found[each].found.name == "halves")
    scene = square_scene(found, halves, nouns=["black", "blue", "green", "red"], size_px=32)
    assert scene.image.shape == (32, 32, 3)
    assert (scene.class_map[:, :16] == 3).all()
    assert (scene.class_map[:, 16:] == 2).all()
    # The set promises that there is no blue, and says nothing of black.
    assert scene.unsure.tolist() == [0]
    assert frequent_nouns(found, [halves]) == ["green", "red"]


@pytest.mark.slow
def test_all_backbones_are_probed(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two colours, of which the probes have seen the very images."""
    monkeypatch.setattr(probe_data, "MIN_TRAIN", 2)
    monkeypatch.setattr(probe_data, "MIN_TEST", 1)
    found = measure(measure_probing, inputs)
    for name in BACKBONES:
        own = names_of(found, f"probing: {name}")["probed"]
        assert (own["top1"].value, own["names"].value) == (1.0, 2)
    grids = [found.value(f"probing: {name}", "grid") for name in ("student", "clip_teacher")]
    assert grids == [4, 2]


def test_teachers_and_student_are_all_measured(inputs: Inputs) -> None:
    found = measure(measure_teachers, inputs)
    for who in ("clip_teacher", "student"):
        names = names_of(found, f"teachers: {who}")
        assert [*names] == ["all names", "imagenet"]
        assert (names["all names"]["top1"].n, names["imagenet"]["names"].value) == (3, 3)
    sam, student = (
        found.metrics(f"teachers: {who}: prompts", "all") for who in ("sam_teacher", "student")
    )
    assert sam["box"].n == student["box"].n == 2


def test_a_student_that_is_not_calibrated_is_refused(inputs: Inputs) -> None:
    assert inputs.folder.name == "stage3"
    with pytest.raises(BundleError, match="run `python -m training calibrate"):
        measure(measure_text_to_mask, replace(inputs, folder=inputs.folder.parent / "stage1"))


@pytest.mark.slow
def test_the_command_stores_part_by_part(
    run: Path, dataset: ValPhotographs, tmp_path: Path
) -> None:
    """What was measured is shown, and a part that is measured again stands for itself alone."""
    path = tmp_path / "found.jsonl"
    words = ["paper", "--runs", run, "--photographs", dataset.root, "--only", "teachers"]
    found_by(path, *words, "--only", "text_to_mask")
    found_by(path, *words)
    asked, teachers = read_table(path).parts
    settings = teachers.run.settings
    assert (settings["sets"], settings["complete"], settings["part"]) == (2, 1, "teachers")
    assert teachers.rows["teachers: student: all names", "all", "top1"].n == 3
    ways = ("clip_head", "both_heads", "two_models", "two_models_or_nothing")
    counts = {(asked.value(w, "present", "all"), asked.value(w, "absent", "all")) for w in ways}
    assert len(counts) == 1
    assert [asked.value(way, "clip_passes", "all") for way in ways[:2]] == [0, 0]
    assert asked.run.settings["tuned_on"] > 0
