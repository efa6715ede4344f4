"""The sets of semantic segmentation in miniature; a label is where its colour is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.public.files import DatasetError, read_labels
from benchmarks.public.record import Segmentation
from benchmarks.public.segmentation import (
    SemanticSet,
    measure_segmentation,
    read_ade20k,
    read_coco_object,
    read_coco_panoptic,
    read_coco_stuff,
    read_pascal_context,
    read_pascal_context_60,
    read_pascal_voc,
    spoken,
)
from tests.benchmarks.public.painted import (
    BLACK,
    BLUE,
    RED,
    Painted,
    paint,
    paint_indices,
    write_json,
    write_lines,
)

DOG, CAT = 12, 8  # as VOC stores them


def measure(data: SemanticSet, **colours: tuple[int, int, int]) -> list[Segmentation]:
    model: Any = Painted({name.replace("_", " "): colour for name, colour in colours.items()})
    return list(
        measure_segmentation(
            data,
            clip_head=model,
            both_heads=model,
            presence_threshold=None,
        )
    )


def quarters(*values: int) -> np.ndarray:
    """An 8 x 8 label map of four values in reading order."""
    return np.kron(np.array(values).reshape(2, 2), np.ones((4, 4), int))


def voc(root: Path, truth: Any, *, year: str = "VOC2012", context: bool = False) -> Path:
    """One picture, with a dog (red) at the top left and nothing (black) elsewhere."""
    folder = root / "VOCdevkit" / year
    listing = "SegmentationContext" if context else "Segmentation"
    masks = "SegmentationClassContext" if context else "SegmentationClass"
    write_lines(folder / "ImageSets" / listing / "val.txt", "2007_000033")
    paint(folder / "JPEGImages" / "2007_000033.jpg", RED, BLACK, BLACK, BLACK)
    paint_indices(folder / masks / "2007_000033.png", truth, palette=not context)
    return root


def ious(found: Segmentation) -> dict[str, float]:
    return {each.label: each.iou for each in found.classes if each.iou is not None}


def test_pascal_voc(tmp_path: Path) -> None:
    """By hand: the cat is missed, and 4 of the dog's 16 pixels are void.

    Dog 12 of 12; cat 0 of 16; background 32 of 48, since the cat's 16 were called so.
    """
    truth = quarters(DOG, 0, 0, CAT)
    truth[0, :4] = 255
    both = measure(read_pascal_voc(voc(tmp_path, truth)), dog=RED, cat=BLUE)
    assert [each.heads for each in both] == ["clip_head", "both_heads"]
    for found in both:
        assert ious(found) == {"dog": 1, "cat": 0, "background": pytest.approx(2 / 3)}
        assert found.miou == pytest.approx((1 + 0 + 2 / 3) / 3)
        assert (found.pictures, found.unanswered, len(found.classes)) == (1, 0, 21)
    assert (both[0].background_threshold, both[1].background_threshold) == (0.6, None)
    assert (both[0].resize, both[1].resize) == ("square", "letterbox")


def test_swapped_ids_change_the_figure(tmp_path: Path) -> None:
    data = read_pascal_voc(voc(tmp_path, quarters(CAT, 0, 0, DOG)))
    for found in measure(data, dog=RED, cat=BLUE):
        assert ious(found) == {"dog": 0, "cat": 0, "background": pytest.approx(2 / 3)}


def test_confusion_is_of_the_set_not_of_each_picture(tmp_path: Path) -> None:
    """A second picture is all dog and all found: 16 + 64 of 80 + 16, not the mean of two IoUs."""
    folder = voc(tmp_path, quarters(DOG, DOG, 0, 0)) / "VOCdevkit" / "VOC2012"
    write_lines(folder / "ImageSets" / "Segmentation" / "val.txt", "2007_000033", "b")
    paint(folder / "JPEGImages" / "b.jpg", RED)
    paint_indices(folder / "SegmentationClass" / "b.png", quarters(*[DOG] * 4), palette=True)
    for found in measure(read_pascal_voc(tmp_path), dog=RED):
        assert ious(found)["dog"] == pytest.approx(80 / 96)
        assert ious(found)["background"] == pytest.approx(32 / 48)


def test_the_clip_head_sees_a_square_and_answers_in_the_pictures_size(tmp_path: Path) -> None:
    folder = voc(tmp_path, np.kron([[DOG, 0], [0, 0]], np.ones((6, 20), int)))
    paint(
        folder / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000033.jpg",
        *(RED, BLACK, BLACK, BLACK),
        size=(40, 12),
    )
    model: Any = Painted({"dog": RED})
    (found,) = measure_segmentation(
        read_pascal_voc(folder),
        clip_head=model,
        both_heads=None,
        presence_threshold=None,
    )
    assert model.asked[0]["shape"] == (16, 16, 3)
    assert len(model.asked[0]["labels"]) == 20
    assert found.background_threshold == 0.6
    assert ious(found)["dog"] > 0.9  # its corner is cut by interpolation


def test_pascal_context_with_and_without_background(tmp_path: Path) -> None:
    """What the labels are not is not judged among 59, and is the background among 60."""
    truth = quarters(read_labels("pascal_context.txt").index("dog") + 1, 0, 0, 0)
    root = voc(tmp_path, truth, year="VOC2010", context=True)
    for found in measure(read_pascal_context(root), dog=RED):
        assert ious(found) == {"dog": 1}
        assert found.background_threshold is None
        assert len(found.classes) == 59
    for found in measure(read_pascal_context_60(root), dog=RED):
        assert ious(found) == {"dog": 1, "background": 1}


def ade(root: Path, truth: Any, *, names: tuple[str, ...] = ("wall", "dog, hound", "sky")) -> Path:
    folder = root / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t5\t6\t0\t{name} " for i, name in enumerate(names, start=1)]
    write_lines(folder / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tStuff\tName", *rows)
    name = "ADE_val_00000001"
    paint(folder / "images" / "validation" / f"{name}.jpg", RED, BLUE, BLACK, BLACK)
    paint_indices(folder / "annotations" / "validation" / f"{name}.png", truth)
    return root


def test_ade20k(tmp_path: Path) -> None:
    """0 is not judged, whatever is answered there; a label is asked by its first name."""
    data = read_ade20k(ade(tmp_path, quarters(2, 3, 0, 1)))
    assert data.labels == ("wall", "dog", "sky")
    for found in measure(data, wall=BLACK, dog=RED, sky=BLUE):
        assert ious(found) == {"wall": 1, "dog": 1, "sky": 1}
        assert found.unanswered == 0


def test_labels_are_counted_from_one(tmp_path: Path) -> None:
    """A truth that begins at 0, as some tools write it, gives another figure, or is refused."""
    root = ade(tmp_path, quarters(1, 2, 3, 0))
    for found in measure(read_ade20k(root), wall=BLACK, dog=RED, sky=BLUE):
        assert found.miou == 0
    data = read_ade20k(ade(tmp_path, quarters(4, 2, 3, 0)))
    with pytest.raises(DatasetError, match=r"png holds the label 4, which the set does not have"):
        measure(data, dog=RED)


def stuff(root: Path, truth: Any) -> Path:
    paint(root / "val2017" / "000000000139.jpg", RED, BLUE, BLACK, BLACK)
    paint_indices(root / "stuffthingmaps" / "val2017" / "000000000139.png", truth)
    return root


def test_coco_stuff(tmp_path: Path) -> None:
    """12 is the stop sign, category 13; 170 a brick wall, whose category is 171."""
    data = read_coco_stuff(stuff(tmp_path, quarters(12, 170, 255, 255)))
    for found in measure(data, stop_sign=RED, brick_wall=BLUE):
        assert ious(found) == {"stop sign": 1, "brick wall": 1}
        assert len(found.classes) == 171


def test_coco_stuff_has_no_street_sign(tmp_path: Path) -> None:
    data = read_coco_stuff(stuff(tmp_path, quarters(11, 170, 255, 255)))
    with pytest.raises(DatasetError, match="holds the label 11"):
        measure(data)


def test_coco_object(tmp_path: Path) -> None:
    """All stuff, and what has no label, is the background; blue is not asked any more."""
    data = read_coco_object(stuff(tmp_path, quarters(12, 170, 255, 90 + 1)))
    for found in measure(data, stop_sign=RED, brick_wall=BLUE):
        assert ious(found) == {"stop sign": 1, "background": 1}
        assert len(found.classes) == 81


def panoptic(root: Path, *, order: Callable[[int], tuple[int, int, int]]) -> Path:
    segments = [{"id": 70000, "category_id": 18}, {"id": 300, "category_id": 199}]
    annotation = {"image_id": 139, "file_name": "139.png", "segments_info": segments}
    categories = [{"id": 199, "name": "wall-other-merged"}, {"id": 18, "name": "dog"}]
    content = {"annotations": [annotation], "categories": categories}
    write_json(root / "annotations" / "panoptic_val2017.json", content)
    paint(root / "val2017" / "139.jpg", RED, BLUE, RED, RED)
    ids = (70000, 300, 0, 300)
    paint(root / "annotations" / "panoptic_val2017" / "139.png", *map(order, ids))
    return root


def test_coco_panoptic(tmp_path: Path) -> None:
    """By hand: of the lower half, all answered dog, the left is void and the right is wall."""
    root = panoptic(tmp_path, order=lambda x: (x % 256, x // 256 % 256, x // 65536))
    data = read_coco_panoptic(root)
    assert data.labels == ("dog", "wall")
    for found in measure(data, dog=RED, wall=BLUE):
        assert ious(found) == {"dog": 0.5, "wall": 0.5}


def test_swapped_channels_are_found_out(tmp_path: Path) -> None:
    root = panoptic(tmp_path, order=lambda x: (x // 65536, x // 256 % 256, x % 256))
    with pytest.raises(DatasetError, match=r"139\.png has the segment \d+, whose category"):
        measure(read_coco_panoptic(root), dog=RED)


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wall-brick", "brick wall"),
        ("wall-other-merged", "wall"),
        ("floor-wood", "wood floor"),
        ("sky-other-merged", "sky"),
        ("window-blind", "window blind"),
        ("door-stuff", "door"),
        ("tree-merged", "tree"),
        ("traffic light", "traffic light"),
    ],
)
def test_categories_are_asked_as_words(name: str, words: str) -> None:
    assert spoken(name) == words


def test_a_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    data = read_pascal_voc(voc(tmp_path, np.zeros((8, 9))))
    with pytest.raises(DatasetError, match="has 9 x 8 pixels, its picture 8 x 8"):
        measure(data)


def test_a_coloured_truth_is_refused(tmp_path: Path) -> None:
    root = voc(tmp_path, quarters(0, 0, 0, 0))
    paint(root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000033.png", RED)
    with pytest.raises(DatasetError, match=r"is RGB: a label map is a palette or 8-bit grey PNG"):
        measure(read_pascal_voc(root))


def test_without_a_background_every_pixel_gets_a_label(tmp_path: Path) -> None:
    """Where nothing is above the threshold, the likeliest label is the answer all the same."""
    data = read_ade20k(ade(tmp_path, quarters(2, 3, 1, 1)))
    for found in measure(data, dog=RED, sky=BLUE)[1:]:
        assert ious(found) == {"wall": 1, "dog": 1, "sky": 1}


def test_pixels_without_an_answer_are_missed(tmp_path: Path) -> None:
    """A model that finds no label present: a quarter of the picture is not judged."""

    class Blind(Painted):
        def segment_text(self, image: Any, labels: Any, **options: Any) -> Any:
            found = super().segment_text(image, labels, **options)
            found.class_map[:] = -1
            return found

    model: Any = Blind()
    (found,) = measure_segmentation(
        read_ade20k(ade(tmp_path, quarters(2, 3, 0, 1))),
        clip_head=None,
        both_heads=model,
        presence_threshold=None,
    )
    assert (found.miou, found.unanswered) == (0, 1)


def test_the_presence_threshold_is_handed_on_and_told(tmp_path: Path) -> None:
    model: Any = Painted({"dog": RED})
    (found,) = measure_segmentation(
        read_ade20k(ade(tmp_path, quarters(2, 3, 0, 1))),
        clip_head=None,
        both_heads=model,
        presence_threshold=0,
    )
    assert model.asked[0]["threshold"] == found.presence_threshold == 0
