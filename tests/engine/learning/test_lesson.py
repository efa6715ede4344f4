"""A made-up thing is learnt from a COCO file, by a small model of drawings."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from PIL import Image

from samclip_sdk import PromptError, SamClip
from samclip_sdk.engine.learning import LabelQuality, LearnedLabel, LearnReport
from samclip_sdk.errors import StorageError
from tests.drawings import TINY_BUNDLE
from tests.own_things import write_things
from tests.refusals import refused


@pytest.mark.parametrize("masks", [True, False])
def test_a_thing_is_learnt_and_measured(tmp_path: Path, masks: bool) -> None:
    path, told = write_things(tmp_path, masks=masks), list[tuple[str, int, int]]()
    with SamClip.load("onnx", model=TINY_BUNDLE) as model:
        report = model.learn_coco(
            path, images=tmp_path, on_progress=lambda *each: told.append(each)
        )
        (own,) = report.labels
        assert (own.label, own.examples, report.images, report.held_out) == ("item 17", 8, 16, 4)
        assert (own.before.images, own.before.others) == (2, 2)
        assert own.after.found == 1.0 > own.before.found
        assert own.after.false == 0.0
        assert own.after.miou > own.before.miou
        assert model.label_thresholds("item 17") == (own.threshold,)
        assert model.segment_text(tmp_path / "1.png", "item 17").labels == ("item 17",)
        assert json.loads(json.dumps(report.to_dict()))["labels"][0]["after"]["found"] == 1.0
    assert ("measuring after", 4, 4) in told
    assert {done for message, done, _ in told if message == "looking at examples"} == {*range(17)}


def test_a_whole_that_was_learnt_instead_of_a_part_is_told(tmp_path: Path) -> None:
    with SamClip.load("onnx", model=TINY_BUNDLE) as model:
        report = model.learn_coco(write_things(tmp_path, part=True), images=tmp_path)
        (part,) = report.labels
        assert (part.after.found, part.after.whole) == (1.0, 1.0)
        assert part.after.miou < 0.3
        assert report.wholes == ("item 17",)
        told = report.to_dict()["labels"][0]
        assert (told["after"]["whole"], told["same_as"]) == (1.0, part.same_as)
        report = model.learn_coco(write_things(tmp_path, masks=False), images=tmp_path)
        assert (report.wholes, report.labels[0].same_as) == ((), None)


def test_the_word_that_masks_the_same_is_named(tmp_path: Path) -> None:
    """The box of a dog's middle teaches the whole dog."""
    own, dog = tmp_path / "own.json", Path(__file__).parents[3] / "examples" / "images" / "dog.jpg"
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 288, "height": 384} for n in range(5)]
    for each in images:
        shutil.copy(dog, tmp_path / str(each["file_name"]))
    boxes = [{"image_id": n, "category_id": 1, "bbox": [60, 150, 60, 60]} for n in range(5)]
    stored = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "part 3"}]}
    own.write_text(json.dumps(stored, default=str))
    with SamClip.load("onnx") as model:
        report = model.learn_coco(own, images=tmp_path)
    assert report.wholes == ("part 3",)
    assert report.labels[0].same_as == "dog"


def test_labels_that_got_worse_are_named() -> None:
    well, ill = (LabelQuality(4, 9, found, 0.0, found) for found in (0.5, 0.2))
    unknown = LabelQuality(0, 9, math.nan, 0.0, math.nan)
    qualities = {"dog": (well, ill), "cat": (ill, well), "cow": (well, well), "ox": (unknown,) * 2}
    labels = [LearnedLabel(label, 8, 0, 0.5, *each) for label, each in qualities.items()]
    assert LearnReport(tuple(labels), (), 16, 4).worse == ("dog",)


def test_refusals_come_before_the_model_runs(tmp_path: Path) -> None:
    path = write_things(tmp_path, images=2)
    with SamClip.load("onnx", model=TINY_BUNDLE) as model:
        for wrong in ({"held_out": 1.0}, {"score": 0.5}, {"seed": -1}):
            named = next(iter(wrong))
            refused(
                lambda w=wrong: model.learn_coco(path, images=tmp_path, **w), PromptError, named
            )
        for width, height in ((64, 96), (96, 128)):  # the last has the pixels, but on its side
            Image.new("RGB", (width, height)).save(tmp_path / "1.png")
            told = f"{width} x {height}"
            refused(lambda: model.learn_coco(path, images=tmp_path), StorageError, told)
        stored = json.loads(path.read_text())
        path.write_text(json.dumps(stored | {"annotations": []}))
        refused(lambda: model.learn_coco(path, images=tmp_path), PromptError, "label")
