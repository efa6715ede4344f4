"""A made-up thing is learnt from a COCO file, by a small model of drawings."""

from __future__ import annotations

import json
import math
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
        assert (own.label, own.examples, report.pictures, report.held_out) == ("item 17", 8, 16, 4)
        assert (own.before.pictures, own.before.others) == (2, 2)
        assert own.after.found == 1.0 > own.before.found
        assert own.after.false == 0.0
        assert own.after.miou > own.before.miou
        assert model.label_thresholds("item 17") == (own.threshold,)
        assert model.segment_text(tmp_path / "1.png", "item 17").labels == ("item 17",)
        assert json.loads(json.dumps(report.to_dict()))["labels"][0]["after"]["found"] == 1.0
    assert ("measuring after", 4, 4) in told
    assert {done for message, done, _ in told if message == "looking at examples"} == {*range(17)}


def test_labels_that_got_worse_are_named() -> None:
    well, ill = (LabelQuality(4, 9, found, 0.0, found) for found in (0.5, 0.2))
    unknown = LabelQuality(0, 9, math.nan, 0.0, math.nan)
    qualities = {"dog": (well, ill), "cat": (ill, well), "cow": (well, well), "ox": (unknown,) * 2}
    labels = [LearnedLabel(label, 8, 0, 0.5, *each) for label, each in qualities.items()]
    assert LearnReport(tuple(labels), (), 16, 4).worse == ("dog",)


def test_refusals_come_before_the_model_runs(tmp_path: Path) -> None:
    path = write_things(tmp_path, pictures=2)
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
        refused(lambda: model.learn_coco(path, images=tmp_path), PromptError, "nothing to learn")
