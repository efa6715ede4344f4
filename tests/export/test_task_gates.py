"""A set of artifacts that answers otherwise than eager torch is refused, and the graph is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.task_gates import TaskGate
from samclip_sdk.device.goldens.task_metrics import TASK_BOUNDS, TaskImage
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.session import Arrays
from tests.fake_session import FakeSession
from tests.fake_source import FakeSource, decode_masks

EXPORT = Path(__file__).parents[2] / "export"
FREE = {"public domain", "CC0-1.0"}  # what goes into bundles asks for nothing
OPEN = {"photographs": FREE, "calibration_set": FREE | {"CC-BY-2.0", "CC-BY-SA-4.0"}}
GRAPHS = ("image_encoder@64", "clip_head@64", "text_encoder", "prompt_encoder", "mask_decoder")
IMAGES = (
    TaskImage(
        image=np.zeros((50, 100, 3), dtype=np.uint8),
        boxes=np.array([[10, 10, 40, 40]], dtype=np.float32),
        labels=("dog",),
    ),
)


class Eager(FakeSource):
    graphs = tuple(SimpleNamespace(name=name) for name in GRAPHS)


class Broken(FakeSource):
    """Draws the outside of what it is asked for."""

    def session(self, graph: str) -> FakeSession:
        opened = super().session(graph)
        if graph != "mask_decoder":
            return opened

        def outside(feed: Arrays) -> Arrays:
            answer: dict[str, Any] = dict(decode_masks(feed))
            return answer | {"low_res_masks": -answer["low_res_masks"]}

        return FakeSession(self._specs[graph], answer=outside)


def gate(folder: Path) -> TaskGate:
    eager: Any = Eager(folder)
    return TaskGate(eager, images=IMAGES, vocabulary=("dog", "cat"))


def test_the_same_answers_pass(tmp_path: Path) -> None:
    found = gate(tmp_path).check(FakeSource(tmp_path), precision="int8", kind="onnx int8")
    assert {each.metric for each in found} == set(TASK_BOUNDS["int8"])
    assert all(each.measured == pytest.approx(1.0) for each in found)


def test_others_are_refused_and_the_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        VerificationError, match=r"onnx fp16 is not eager torch: task/.*; mask_decoder by itself"
    ):
        gate(tmp_path).check(Broken(tmp_path), precision="fp16", kind="onnx fp16")


@pytest.mark.parametrize("folder", OPEN)
def test_the_images_are_photographs_that_anybody_may_use(folder: str) -> None:
    """Each of a source that is named; what is composed of drawings has none."""
    rows = licences(folder)
    images = {path.name for path in (EXPORT / folder).glob("*.jpg")}
    index = json.loads((EXPORT / folder / "index.json").read_text(encoding="utf-8"))
    assert len(images) >= 12
    assert rows.keys() == images == {entry["file"] for entry in index["images"]}
    assert {row["licence"] for row in rows.values()} <= OPEN[folder]
    assert all(row["source"] and row["author"] for row in rows.values())


def test_ranges_are_not_of_what_artifacts_are_accepted_on() -> None:
    sources = [{row["source"] for row in licences(folder).values()} for folder in OPEN]
    assert not sources[0] & sources[1]


def licences(folder: str) -> dict[str, dict[str, str]]:
    with (EXPORT / folder / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}
