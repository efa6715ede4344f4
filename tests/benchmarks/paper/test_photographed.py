"""Photographs as what is asked, and the pair of teachers that know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.paper import photographed, zero_shot
from benchmarks.paper.inputs import Inputs, photograph_stages
from benchmarks.paper.photographed import ValPhotographs, frequent_nouns, middle, square_scene
from benchmarks.paper.probing import measure_probing, open_backbones
from benchmarks.paper.record import PhotographSettings, Results
from benchmarks.paper.zero_shot import measure_backbones, measure_resolutions, measure_teachers
from benchmarks.quality.ranking import Rank
from benchmarks.record import read_record
from samclip_sdk.bundle.manifest import PAD_COLOUR
from tests.benchmarks.paper.photograph_run import (
    STUDENT_OF_PHOTOGRAPHS,
    write_photographs,
    write_run,
)
from training.teachers.photograph_pair import PARTS, PhotographPair

CLASSES = ["beagle", "crane", "tench"]


@pytest.fixture(scope="module", autouse=True)
def few_classes() -> Iterator[None]:
    """A thousand names in eighty templates each would take the text encoder minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.paper.photographed.imagenet_names", lambda: (CLASSES, {}))
        yield


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> ValPhotographs:
    root = write_photographs(tmp_path_factory.mktemp("photographs"))
    settings = PhotographSettings(sets=2, complete=1, pictures=9, scenes=5)
    return ValPhotographs(root, settings, size_px=64)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, asked: ValPhotographs) -> Inputs:
    run = write_run(tmp_path_factory.mktemp("runs") / "mobile")
    pair = PhotographPair(STUDENT_OF_PHOTOGRAPHS, runs=run)
    return Inputs(pair, asked, photograph_stages(run, student=None))


def by_colour(names: Sequence[str]) -> Rank:
    """Red and green by their pixels; a tench is next to green."""
    scores = {"red": (1, 0, 0), "green": (0, 1, 0), "tench": (0, 0.5, 0)}
    weights = np.array([scores.get(name, (-1, -1, -1)) for name in names], np.float32)

    return lambda image: image.mean(axis=(0, 1)) @ weights.T


def test_pictures_are_named_among_two_lists(asked: ValPhotographs) -> None:
    """Red and green are right; a grey tench is said to be green, but not by ImageNet's names."""
    assert len(set(asked.names)) == len(asked.names)
    assert {"red", "tench", "tinca tinca"} <= set(asked.names)
    found = asked.accuracy(by_colour, name="colours")
    assert (found["all_names"].pictures, found["all_names"].labels) == (3, 6)
    assert found["all_names"].top1 == pytest.approx(2 / 3)
    assert (found["imagenet"].pictures, found["imagenet"].top1) == (1, 1.0)
    assert found["imagenet"].labels == 3


def test_pictures_of_complete_sets_are_asked(asked: ValPhotographs) -> None:
    (question,) = asked.questions(lambda _: np.empty(0))
    assert set(question.present) == {"red", "green"}
    assert question.absent == ("blue",)
    (other,) = asked.tuning(lambda _: np.empty(0))
    assert other.image.shape == (96, 128, 3)


def test_the_middle_of_a_picture_and_of_its_masks(asked: ValPhotographs) -> None:
    wide = np.arange(8, dtype=np.uint8).repeat(3).reshape(1, 8, 3).repeat(4, axis=0)
    assert middle(wide, size_px=4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert middle(wide[..., 0] > 3, size_px=2).tolist() == [[False, True]] * 2
    found = asked.photographs
    halves = next(each for each in range(len(found)) if found[each].found.name == "halves")
    scene = square_scene(found, halves, nouns=["black", "blue", "green", "red"], size_px=32)
    assert scene.image.shape == (32, 32, 3)
    assert sorted(scene.labels.tolist()) == [2, 3]
    red = scene.masks[scene.labels.tolist().index(3)]
    assert red[:, :16].all()
    assert not red[:, 16:].any()
    # The set promises that there is no blue, and says nothing of black.
    assert scene.unlabelled.tolist() == [0]
    assert frequent_nouns(found, [halves]) == ["green", "red"]


@pytest.mark.slow
def test_all_backbones_are_probed(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographed, "LEAST_TRAIN", 2)
    monkeypatch.setattr(photographed, "LEAST_TEST", 1)
    found = measure_probing(inputs)
    assert (found.train_pictures, found.train_scenes) == (4, 2)
    sam, clip, student = found.probes
    assert [each.backbone for each in found.probes] == ["sam_teacher", "clip_teacher", "student"]
    assert (sam.classification_width, clip.classification_width) == (2 * 520, 2 * 1280)
    assert (student.grid, clip.grid) == (4, 2)
    for probe in (sam, clip, student):  # two colours, of which it has seen the very pictures
        assert probe.accuracy["probed"].top1 == 1.0
        assert probe.accuracy["probed"].labels == 2


def test_the_ends_are_both_teachers(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_shot, "ALPHAS", (0.0, 1.0))
    found = measure_backbones(inputs)
    assert (found.training, found.joint_steps) == (None, None)
    sam, clip = found.points
    teachers, asked = inputs.teachers, inputs.asked
    assert sam.prompts == asked.prompts(teachers.sam, who="model", name="SAM")
    assert clip.accuracy == asked.accuracy(teachers.rank, name="CLIP")
    assert clip.prompts != sam.prompts


def test_the_clip_teacher_sees_no_padding(inputs: Inputs) -> None:
    """A wide picture lies at the top of a square, and what is below it is not pooled."""
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    clip = inputs.pair.clip
    squares = torch.tensor(PAD_COLOUR, dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 1, 64, 64)
    squares[0, :, :40] = torch.from_numpy(image).permute(2, 0, 1)
    mask = torch.zeros(1, 4, 4)
    mask[:, :3] = 1
    with torch.inference_mode():
        expected, _ = clip.embed_with_cells(squares, mask)
    found = inputs.teachers.embed(image)
    assert float((expected.numpy() @ found)[0]) == pytest.approx(1, abs=1e-4)


def test_students_are_those_that_are_there(inputs: Inputs, tmp_path: Path) -> None:
    run = inputs.pair.runs
    assert photograph_stages(run, student=None) == (PARTS, ("stage1", "stage3"))
    assert photograph_stages(run, student="stage1").students == ("stage1",)
    assert photograph_stages(run, student="own").students == ("stage1", "stage3", "own")
    assert photograph_stages(tmp_path, student=None).shipped == "stage3"


def test_the_student_stands_for_a_sam_teacher_that_was_not_kept(inputs: Inputs) -> None:
    run = inputs.pair.runs
    assert photograph_stages(run.parent, student=None).teachers == ("classifier_clip",)
    pair = PhotographPair(STUDENT_OF_PHOTOGRAPHS, runs=run, merged="stage3")
    own = Inputs(pair, inputs.asked, inputs.stages)
    assert own.pair.tokenizer == run / "stage3" / "tokenizer.json"
    student, stage0 = own.student().state_dict(), own.pair.stage0(seed=0).state_dict()
    head = [name for name in student if name.startswith(("clip_head", "logit_scale"))]
    assert all(torch.equal(stage0[name], student[name]) for name in student.keys() - {*head})
    assert measure_teachers(own).sam_teacher is None
    assert [each.name for each in open_backbones(own)] == ["clip_teacher", "student"]


def test_every_stage_at_each_resolution(inputs: Inputs) -> None:
    rows = measure_resolutions(inputs, resolutions=[64]).rows
    assert [row.stage for row in rows] == ["stage1", "stage3"]


def test_the_command_measures_photographs(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.paper.photographed.open_photographs", lambda *_, **__: inputs)
    words = ["paper", "--runs", str(inputs.pair.runs), "--photographs", str(inputs.asked.root)]
    output = tmp_path / "found.json"
    for name in ("teachers", "text_to_mask"):
        done = CliRunner().invoke(app, [*words, "--only", name, "--output", str(output)])
        assert done.exit_code == 0, done.output
    found = read_record(Results, output)
    assert found.teachers is not None
    assert found.text_to_mask is not None
    assert list(found.teachers.weights) == [*PARTS, "stage3"]
    assert found.teachers.settings == inputs.asked.settings
    assert found.text_to_mask.figures.tuning_scenes == 1
    assert len(found.text_to_mask.figures.methods) == 4
    done = CliRunner().invoke(app, [*words, "--only", "lambdas", "--output", str(output)])
    assert (done.exit_code, done.output) == (1, "error: lambdas is measured on drawings alone\n")
