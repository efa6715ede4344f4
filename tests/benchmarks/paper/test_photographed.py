"""The paper's parts on photographs, and the pair of teachers that know them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.paper import probe_data, short_trainings
from benchmarks.paper.probe_data import frequent_nouns, middle, square_scene
from benchmarks.paper.probing import measure_probing, open_backbones
from benchmarks.paper.run import Inputs, open_inputs
from benchmarks.paper.short_trainings import measure_wise_ft
from benchmarks.paper.words import names_of
from benchmarks.paper.zero_shot import measure_teachers
from benchmarks.quality.photographs import ValPhotographs
from benchmarks.table import read_table
from samclip_sdk.bundle.manifest import PAD_COLOUR
from tests.benchmarks.measured import measure
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
    return ValPhotographs(root, pictures=9, scenes=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mobile")


@pytest.fixture(scope="module")
def inputs(run: Path, dataset: ValPhotographs) -> Inputs:
    return open_inputs(run, dataset, students=("stage1", "stage3"), steps=1, seed=0)


def test_the_middle_of_a_picture_and_of_its_masks(dataset: ValPhotographs) -> None:
    wide = np.arange(8, dtype=np.uint8).repeat(3).reshape(1, 8, 3).repeat(4, axis=0)
    assert middle(wide, size_px=4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert middle(wide[..., 0] > 3, size_px=2).tolist() == [[False, True]] * 2
    found = dataset.photographs
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
    """Two colours, of which the probes have seen the very pictures."""
    monkeypatch.setattr(probe_data, "LEAST_TRAIN", 2)
    monkeypatch.setattr(probe_data, "LEAST_TEST", 1)
    found = measure(measure_probing, inputs)
    for name, width in (("sam_teacher", 520), ("clip_teacher", 1280), ("student", 520)):
        own = names_of(found, f"probing: {name}")["probed"]
        assert (own["top1"].value, own["names"].value) == (1.0, 2)
        assert found.value(f"probing: {name}", "classification_width") == 2 * width
    grids = [found.value(f"probing: {name}", "grid") for name in ("student", "clip_teacher")]
    assert grids == [4, 2]


def test_the_ends_are_both_teachers(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_trainings, "ALPHAS", (0.0, 1.0))
    found = measure(measure_wise_ft, inputs)
    assert "training" not in found.run.settings
    teachers = measure(measure_teachers, inputs)

    def prompts(part: object, who: str) -> dict[str, float]:
        rows = (teachers if part is teachers else found).metrics(f"{who}: prompts", "all")
        return {name: row.value for name, row in rows.items()}

    sam = prompts(teachers, "teachers: sam_teacher")
    assert prompts(found, "wise_ft: 0.0") == sam
    assert prompts(found, "wise_ft: 1.0") != sam
    for kind, own in names_of(found, "wise_ft: 1.0").items():
        theirs = names_of(teachers, "teachers: clip_teacher")[kind]
        assert own["top1"].value == theirs["top1"].value


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


def test_the_student_stands_for_a_sam_teacher_that_was_not_kept(
    tmp_path: Path, dataset: ValPhotographs
) -> None:
    run = write_run(tmp_path / "mobile")
    (run / "sam_teacher" / "model.safetensors").unlink()
    own = open_inputs(run, dataset, students=("stage3",), steps=1, seed=0)
    assert own.pair.tokenizer == run / "stage3" / "tokenizer.json"
    student, stage0 = own.student().state_dict(), own.pair.stage0(seed=0).state_dict()
    head = [name for name in student if name.startswith(("clip_head", "logit_scale"))]
    assert all(torch.equal(stage0[name], student[name]) for name in student.keys() - {*head})
    subjects = measure(measure_teachers, own).subjects
    assert not [each for each in subjects if "sam_teacher" in each]
    assert [each.name for each in open_backbones(own)] == ["clip_teacher", "student"]
    assert set(own.weights("stage3")) == {"classifier_clip", "text_encoder", "stage3"}


def test_the_command_asks_photographs(run: Path, dataset: ValPhotographs, tmp_path: Path) -> None:
    place = tmp_path / "found.jsonl"
    words = ["paper", "--runs", str(run), "--photographs", str(dataset.root)]
    done = CliRunner().invoke(app, [*words, "--only", "teachers", "--output", str(place)])
    assert done.exit_code == 0, done.output
    (part,) = read_table(place).parts
    assert part.run.suite == "paper_photographs"
    settings = part.run.settings
    assert (settings["sets"], settings["complete"], settings["part"]) == (2, 1, "teachers")
    assert part.rows["teachers: student: all names", "all", "top1"].n == 3
    assert "| top-1, ImageNet's names |" in done.output
