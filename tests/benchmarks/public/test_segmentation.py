"""The sets of semantic segmentation in miniature; a label is where its colour is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.pages import print_tables
from benchmarks.public.files import DatasetError, read_labels
from benchmarks.public.segmentation import SEMANTIC, measure_segmentation, spoken
from benchmarks.table import Model, Part, Row, Table
from tests.benchmarks.measured import measure as measured
from tests.benchmarks.public.miniatures import ade, quarters, stuff, voc
from tests.benchmarks.public.painted import (
    BLACK,
    BLUE,
    RED,
    Painted,
    paint,
    paint_indices,
    write_lines,
)
from tests.refusals import refused

DOG, CAT = 12, 8  # as VOC stores them
HEADS = ("set: clip_head", "set: both_heads")


def measure(dataset: str, root: Path, model: Any = None, **colours: tuple[int, int, int]) -> Part:
    model = model or Painted({each.replace("_", " "): colour for each, colour in colours.items()})
    data = SEMANTIC[dataset](root)
    models = {"clip_head": model, "both_heads": model}
    return measured(measure_segmentation, data, models, name="set", threshold=0.5)


def ious(found: Part, heads: str) -> dict[str, float]:
    """The IoU of each class that is there or was answered."""
    return {label: found.rows[heads, label, "iou"].value for label in found.splits(heads, "iou")}


def check(found: Part, expected: dict[str, float]) -> None:
    """Both heads answered so, and the mean is of these classes."""
    for heads in HEADS:
        assert ious(found, heads) == pytest.approx(expected)
        assert found.value(heads, "miou") == pytest.approx(np.mean([*expected.values()]))


def test_pascal_voc(tmp_path: Path) -> None:
    """By hand: the cat is missed, and 4 of the dog's 16 pixels are void.

    Dog 12 of 12; cat 0 of 16; background 32 of 48, since the cat's 16 were called so. Without a
    background, which 0 is, only the dog and the cat are judged.
    """
    truth = quarters(DOG, 0, 0, CAT)
    truth[0, :4] = 255
    found = measure("pascal-voc", voc(tmp_path, truth), dog=RED, cat=BLUE)
    check(found, {"dog": 1, "cat": 0, "background": 2 / 3})
    assert (found.run.settings["background_threshold"], found.rows[HEADS[0], "", "miou"].n) == (
        0.6,
        1,
    )
    found = measure("pascal-voc-20", voc(tmp_path, truth), dog=RED, cat=BLUE)
    assert ious(found, HEADS[1])["dog"] == 1
    assert "background" not in ious(found, HEADS[1])


def test_confusion_is_of_the_set_not_of_each_image(tmp_path: Path) -> None:
    """A second image is all dog and all found: 16 + 64 of 80 + 16, not the mean of two IoUs."""
    folder = voc(tmp_path, quarters(DOG, DOG, 0, 0)) / "VOCdevkit" / "VOC2012"
    write_lines(folder / "ImageSets" / "Segmentation" / "val.txt", "2007_000033", "b")
    paint(folder / "JPEGImages" / "b.jpg", RED)
    paint_indices(folder / "SegmentationClass" / "b.png", quarters(*[DOG] * 4), palette=True)
    check(measure("pascal-voc", tmp_path, dog=RED), {"dog": 80 / 96, "background": 32 / 48})


def test_the_clip_head_sees_a_square_and_answers_in_the_images_size(tmp_path: Path) -> None:
    root = voc(tmp_path, np.kron([[DOG, 0], [0, 0]], np.ones((6, 20), int)))
    image = root / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000033.jpg"
    paint(image, RED, BLACK, BLACK, BLACK, size=(40, 12))
    model: Any = Painted({"dog": RED})
    found = measure("pascal-voc", root, model)
    assert model.asked[0]["shape"] == (16, 16, 3)
    assert len(model.asked[0]["labels"]) == 20
    assert ious(found, HEADS[0])["dog"] > 0.9  # its corner is cut by interpolation


def test_pascal_context_with_and_without_background(tmp_path: Path) -> None:
    """What the labels are not is not judged among 59, and is the background among 60."""
    truth = quarters(read_labels("pascal_context.txt").index("dog") + 1, 0, 0, 0)
    root = voc(tmp_path, truth, year="VOC2010", context=True)
    check(measure("pascal-context", root, dog=RED), {"dog": 1})
    check(measure("pascal-context-60", root, dog=RED), {"dog": 1, "background": 1})


class Blind(Painted):
    """Finds no label present."""

    def segment_text(self, image: Any, labels: Any, **options: Any) -> Any:
        found = super().segment_text(image, labels, **options)
        if options.get("refine", True):
            found.class_map[:] = -1
        return found


def test_ade20k(tmp_path: Path) -> None:
    """0 is not judged, whatever is answered there; a label is asked by its first name."""
    root = ade(tmp_path, quarters(2, 3, 0, 1))
    assert SEMANTIC["ade20k"](root).labels == ("wall", "dog", "sky")
    colours = {"wall": BLACK, "dog": RED, "sky": BLUE}
    check(measure("ade20k", root, **colours), {"wall": 1, "dog": 1, "sky": 1})
    # A truth that begins at 0, as some tools write it, gives another figure.
    found = measure("ade20k", ade(tmp_path, quarters(1, 2, 3, 0)), **colours)
    assert found.value(HEADS[1], "miou") == 0
    # Where nothing is above the threshold, the likeliest label is the answer all the same.
    found = measure("ade20k", ade(tmp_path, quarters(2, 3, 1, 1)), dog=RED, sky=BLUE)
    assert ious(found, HEADS[1]) == {"wall": 1, "dog": 1, "sky": 1}
    blind: Any = Blind()
    found = measure("ade20k", ade(tmp_path, quarters(2, 3, 0, 1)), blind)
    assert (found.value(HEADS[1], "miou"), found.value(HEADS[1], "unanswered")) == (0, 1)


def test_cityscapes(tmp_path: Path) -> None:
    """By hand: a road, a license plate and a parking, which are not judged, and a missed car."""
    city, name = "frankfurt", "frankfurt_000000_000294"
    paint(tmp_path / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png", RED, BLUE)
    truth = quarters(7, 26, 9, 7)
    truth[0, 0] = 255  # -1 as it is stored in 8 bits
    paint_indices(tmp_path / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png", truth)
    data = SEMANTIC["cityscapes"](tmp_path)
    assert (len(data.labels), data.labels[0], data.labels[13]) == (19, "road", "car")
    judged = data.read_truth(data.images[0][1])
    assert set(np.unique(judged)) == {-1, 0, 13}
    assert (judged[0, 0], judged[0, 1], judged[0, 4], judged[4, 0]) == (-1, 0, 13, -1)
    found = measure("cityscapes", tmp_path, road=RED)
    assert ious(found, HEADS[1])["car"] == 0


def test_coco_stuff_and_objects(tmp_path: Path) -> None:
    """12 is the stop sign, category 13; 170 a brick wall, whose category is 171.

    Of objects, all stuff and what has no label is the background.
    """
    colours = {"stop_sign": RED, "brick_wall": BLUE}
    found = measure("coco-stuff", stuff(tmp_path, quarters(12, 170, 255, 255)), **colours)
    check(found, {"stop sign": 1, "brick wall": 1})
    found = measure("coco-object", stuff(tmp_path, quarters(12, 170, 255, 91)), **colours)
    check(found, {"stop sign": 1, "background": 1})


def test_the_lists_of_labels_are_complete() -> None:
    voc_labels, context = read_labels("pascal_voc.txt"), read_labels("pascal_context.txt")
    assert (len(voc_labels), len(set(context))) == (20, 59)
    assert voc_labels == sorted(voc_labels)
    assert context == sorted(context)
    rows = [line.partition(" ") for line in read_labels("coco_stuff.txt")]
    values = [int(value) for value, _, _ in rows]
    # Categories that COCO planned and never annotated, as values: ids less 1.
    removed = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    assert values == [value for value in range(182) if value not in removed]
    assert len({spoken(name) for _, _, name in rows}) == 171


def test_a_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    root = voc(tmp_path, np.zeros((8, 9)))
    refused(lambda: measure("pascal-voc", root), DatasetError, "9 x 8", "8 x 8")


def test_the_mean_of_the_eight_usual_sets(tmp_path: Path) -> None:
    """It stands below once all eight are measured, each of which may be a run of its own."""
    truth = quarters(DOG, 0, 0, 0)
    run = measure("pascal-voc", voc(tmp_path, truth), dog=RED).run
    model = Model(name="toy", revision="1", runtime="onnx")
    run = run.model_copy(update={"model": model, "suite": "evaluate"})

    def shown(count: int) -> str:
        parts = [
            Part.of(
                run,
                [
                    Row(
                        suite="evaluate",
                        subject=f"{name}: both_heads",
                        metric="miou",
                        value=0.1 * i,
                    )
                ],
            )
            for i, name in enumerate([*SEMANTIC][:count])
        ]
        return print_tables("evaluate", Table(tuple(parts)), ["evaluate"])

    assert "| mean miou of the eight sets: both_heads | 7 of 8 measured | | |" in shown(7)
    assert "| mean miou of the eight sets: both_heads | 35.0 | | |" in shown(8)
