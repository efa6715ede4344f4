"""The whole run on drawn-by-hand photographs, with a model that sees through their colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.public.files import DatasetError
from benchmarks.quality.command import measure_dataset
from benchmarks.quality.photographs import ValPhotographs, of_folder, of_imagenet, open_split
from benchmarks.table import Part
from samclip_sdk.image.loading import load_image
from tests.benchmarks.measured import found_by
from tests.benchmarks.measured import measure as measured
from tests.benchmarks.public.painted import Painted
from tests.benchmarks.quality.painted_photographs import (
    COLOURS,
    DUST,
    LARGE,
    LEFT,
    MIDDLE,
    SMALL,
    VAL,
    painted,
    write_rooms,
)
from tests.refusals import refused
from tests.training.photograph_files import HEIGHT, WIDTH, annotation, sample_image, write_set
from training.real.photograph_questions import objects_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of a complete set; in another, four objects of one image, and labels."""
    root = tmp_path / "sets"
    write_rooms(root / "a")
    objects = [annotation(1, mask) for mask in (LARGE, MIDDLE, SMALL, DUST)]
    write_set(
        root / "b",
        [
            (sample_image(), objects, VAL),
            (painted(green=LEFT, red=SMALL), [], VAL | {"labels": ["red", "green"]}),
            (painted(green=LEFT, red=SMALL), [], VAL | {"labels": ["red"]}),
            (painted(), [], {"labels": ["blue"]}),
        ],
        categories=("thing",),
    )
    return root


def measure(root: Path) -> Part:
    return measured(measure_dataset, Painted(), ValPhotographs(root), seed=0)


def test_texts_find_colours(root: Path) -> None:
    """The second image is said to be blue where it is red; red, green and grey are absent.

    Red and green are found and right, blue is not; of the absent ones red alone has a mask. The
    head alone masks everything whose presence suffices: grey, too, in both images.
    """
    found = measure(root)
    for way in ("clip_head", "both_heads"):
        assert found.splits(way) == ["all", "a"]
    both, head = found.metrics("both_heads", "all"), found.metrics("clip_head", "all")
    assert (both["miou"].n, both["present"].value, both["absent"].value) == (2, 3, 5)
    assert (both["miou"].value, both["false"].value) == (0.5, 0.2)
    for name in ("miou_present", "found", "ungated"):
        assert both[name].value == pytest.approx(2 / 3, abs=1e-4), name
    # 2 of 3 found, 1 of 5 false: (2 * 4 - 1 * 1) / sqrt(3 * 3 * 5 * 5)
    assert both["il_mcc"].value == pytest.approx(7 / 15, abs=1e-4)
    assert (head["miou"].value, head["false"].value) == (pytest.approx(1 / 6, abs=1e-4), 0.6)
    assert both["miou"].low is not None
    assert both["iou_found"].value == 1
    assert found.value("both_heads", "milliseconds", "all") is not None
    # At the lowest threshold grey and blue are asked too; at the highest, only grey is left.
    curve = [found.metrics("curve: both_heads", each) for each in found.splits("curve: both_heads")]
    shares = [(each["found"].value, each["false"].value) for each in curve]
    assert (shares[0], shares[-1]) == ((pytest.approx(2 / 3), 0.2), (0, 0))


def test_prompts_are_asked_by_size_and_set(root: Path) -> None:
    found = measure(root)
    subject, over_sets = "model: prompts", "model: prompts, mean over sets"
    counts = {split: found.rows[subject, split, "box"].n for split in found.splits(subject)}
    assert counts == {"all": 6, "below 2 %": 1, "2 to 10 %": 1, "above 10 %": 4, "a": 3, "b": 3}
    points = [mask.sum() / (HEIGHT * WIDTH) for mask in (LARGE, MIDDLE, SMALL)]
    assert found.value(subject, "box", "all") == 1.0
    expected = (1.5 + sum(points)) / 6
    for name in ("point", "point_best"):
        assert found.value(subject, name, "all") == pytest.approx(expected, abs=1e-4)
    expected = (0.5 + sum(points) / 3) / 2
    assert found.value(over_sets, "point", "all") == pytest.approx(expected, abs=1e-4)
    photographs = open_split(root)
    assert len(objects_of(photographs, 2)) == 3  # dust is no object


def test_names_and_presence(root: Path) -> None:
    """Green is the larger part: right in one image, before the right red in the other.

    Red and green at .5 and blue at 0 are present; absent are blue and grey, red, green, grey. Of
    15 pairs .5 exceeds 0 four times and ties once, 0 ties with 0 twice.
    """
    found = measure(root)
    names = found.metrics("model: all names", "all")
    assert (names["top1"].value, names["top5"].value) == (0.5, 1.0)
    assert (names["top1"].n, names["names"].value) == (2, 5)
    presence = found.metrics("presence", "all")
    counts = [presence[name].value for name in ("names", "present", "absent")]
    assert counts == [4, 3, 5]
    assert presence["auc"].value == pytest.approx((4 + 1 + 1) / 15, abs=1e-4)


def test_broken_files_are_counted(root: Path) -> None:
    (root / "a" / "images" / "1.jpg").write_bytes(b"no image")
    found = measure(root)
    assert found.run.settings["broken"] == {"image": 1}
    assert found.value("both_heads", "present", "all") == 1


def test_sets_that_promise_nothing_are_asked_for_prompts_and_names(tmp_path: Path) -> None:
    write_set(tmp_path / "a", [(sample_image(), [annotation(1, LEFT)], VAL)])
    found = measure(tmp_path)
    assert {subject.split(":")[0] for subject in found.subjects} == {"model"}
    assert found.rows["model: prompts", "all", "box"].n == 1


def test_large_images_with_a_class_of_imagenet(tmp_path: Path) -> None:
    """A crane is a machine or a bird; names are compared as a whole."""
    large, small = sample_image(width=200), sample_image(width=199)
    labels = ("Tinca tinca", "crane", "beagle house")
    images = [(large, [], VAL | {"labels": [label]}) for label in labels]
    images.append((small, [], VAL | {"labels": ["crane"]}))
    write_set(tmp_path / "a", images)
    assert of_imagenet(open_split(tmp_path), range(4)) == {0: {"tench"}, 1: {"crane"}}


def test_a_folder_has_a_class_in_each_sub_folder(tmp_path: Path) -> None:
    for name in ("red", "Green_thing"):
        (tmp_path / name).mkdir()
    (tmp_path / "red" / "1.png").write_bytes(sample_image())
    refused(lambda: of_folder(tmp_path), DatasetError, tmp_path)
    (tmp_path / "Green_thing" / "1.png").write_bytes(sample_image())
    assert [name for _, name in of_folder(tmp_path)] == ["green thing", "red"]


@pytest.mark.slow
def test_the_command_writes_figures_and_a_sheet(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("red", "green"):
        (own / name).mkdir(parents=True)
        (own / name / "1.png").write_bytes(sample_image(*COLOURS[name]))
    path, sheet = tmp_path / "found.jsonl", tmp_path / "sheet.png"
    words = ["quality", "--photographs", root, "--folder", own, "--sheet", sheet]
    found = found_by(path, *words)
    settings = found.run.settings
    assert (settings["sets"], settings["complete"]) == (["a", "b"], ["a"])
    assert {"model: all names", "model: folder"} <= set(found.subjects)
    colours = set(map(tuple, load_image(sheet).reshape(-1, 3).tolist()))
    assert {COLOURS["red"], COLOURS["green"]} <= colours
