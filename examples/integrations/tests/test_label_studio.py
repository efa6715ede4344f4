"""The backend behind label-studio-ml's own server, asked as Label Studio asks it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface

from examples.integrations import label_studio_backend
from examples.integrations.tests.conftest import iou
from samclip_sdk import SamClip

CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <{output} name="out" toName="image">
    <Label value="Dog" {dog}/>
    <Label value="Boat"/>
  </{output}>
  <KeyPointLabels name="points" toName="image" smart="true"><Label value="Dog"/></KeyPointLabels>
  {boxes}
</View>
"""
BOXES = """
<RectangleLabels name="boxes" toName="image" smart="true"><Label value="Dog"/></RectangleLabels>
"""
WIDTH, HEIGHT = 288, 384


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def host(images: dict[str, Path]) -> Iterator[str]:
    """The address of a server of the images, as Label Studio is one."""
    folder = str(images["upright"].parent)
    handler = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def ask(host: str) -> Any:
    """Connects the backend to a project and asks it about images, over its HTTP interface."""
    client = label_studio_backend.make_app().test_client()

    def post(config: str, names: list[str], regions: list[dict] | None = None) -> Any:
        project = {"project": "1.2", "schema": config, "hostname": host, "access_token": "x"}
        assert client.post("/setup", json=project).status_code == 200
        tasks = [
            {"id": index, "data": {"image": f"{host}/{name}.png"}}
            for index, name in enumerate(names)
        ]
        params = {"context": {"result": regions} if regions else None, "login": None}
        return client.post(
            "/predict",
            json={"tasks": tasks, "label_config": config, "project": "1.2", "params": params},
        )

    return post


def config(output: str, *, dog: str = "", boxes: bool = True) -> str:
    return CONFIG.format(output=output, dog=dog, boxes=BOXES if boxes else "")


def point(x: float, y: float, *, positive: bool = True) -> dict[str, Any]:
    """A smart keypoint at (x, y) pixels of the upright dog, as Label Studio sends it."""
    value = {"x": x * 100 / WIDTH, "y": y * 100 / HEIGHT, "width": 0.3, "keypointlabels": ["Dog"]}
    return {"type": "keypointlabels", "value": value, "is_positive": positive}


def box(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    value = {
        **{"x": x0 * 100 / WIDTH, "y": y0 * 100 / HEIGHT},
        **{"width": (x1 - x0) * 100 / WIDTH, "height": (y1 - y0) * 100 / HEIGHT},
        "rectanglelabels": ["Dog"],
    }
    return {"type": "rectanglelabels", "value": value}


def brushed(region: dict[str, Any]) -> np.ndarray:
    """The mask of a brush region, by Label Studio's own decoder."""
    size = region["original_height"], region["original_width"]
    return decode_rle(region["value"]["rle"]).reshape(*size, 4)[..., 3] > 0


def results(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.json
    return answer.json["results"]


def test_labels_become_brushed_objects(ask: Any, model: SamClip, dog: Path) -> None:
    (prediction,) = results(ask(config("BrushLabels"), ["upright"]))
    expected = model.segment_instances(dog, ["Dog", "Boat"])
    assert len(prediction["result"]) == len(expected) == 1
    region = prediction["result"][0]
    np.testing.assert_array_equal(brushed(region), expected[0].mask)
    assert region["value"]["brushlabels"] == ["Dog"]
    assert (region["from_name"], region["to_name"]) == ("out", "image")
    assert region["score"] == prediction["score"] == pytest.approx(expected[0].score)


@pytest.mark.parametrize("output", ["BrushLabels", "PolygonLabels"])
def test_label_studio_accepts_the_predictions(ask: Any, output: str) -> None:
    """By the check that Label Studio's SDK does before an upload."""
    said = config(output)
    (prediction,) = results(ask(said, ["upright"]))
    interface = LabelInterface(said)
    regions = prediction["result"]  # a polygon for each piece of the mask
    assert regions
    assert all(interface.validate_region(region) for region in regions)
    wrong = {**regions[0], "value": {**regions[0]["value"], output.lower(): ["Cat"]}}
    assert not interface.validate_region(wrong)


def test_polygons_are_in_per_cent(ask: Any, model: SamClip, dog: Path) -> None:
    (prediction,) = results(ask(config("PolygonLabels"), ["upright"]))
    expected = model.segment_instances(dog, ["Dog"])[0].mask
    canvas = np.zeros((4 * HEIGHT, 4 * WIDTH), dtype=np.uint8)
    for region in prediction["result"]:
        assert region["type"] == "polygonlabels"
        corners = np.array(region["value"]["points"])
        assert corners.min() >= 0
        assert corners.max() <= 100
        corners = corners * (4 * WIDTH / 100, 4 * HEIGHT / 100)
        cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], 1)
    assert iou(canvas > 0, expected.repeat(4, axis=0).repeat(4, axis=1)) > 0.97


def test_without_brush_and_polygons_boxes_come_back(ask: Any, model: SamClip, dog: Path) -> None:
    (prediction,) = results(ask(config("RectangleLabels", boxes=False), ["upright"]))
    (region,) = prediction["result"]
    value = region["value"]
    sides = np.array([value["x"], value["y"], value["width"], value["height"]])
    x0, y0, x1, y1 = model.segment_instances(dog, ["Dog"])[0].box
    expected = (x0 / WIDTH, y0 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT)
    assert sides / 100 == pytest.approx(expected, abs=1e-6)
    assert value["rectanglelabels"] == ["Dog"]


def test_a_label_is_asked_by_what_predicted_values_say(ask: Any) -> None:
    said = config("BrushLabels", dog='predicted_values="cat, submarine"')
    assert results(ask(said, ["upright"]))[0]["result"] == []
    said = config("BrushLabels", dog='predicted_values="submarine, dog"')
    (region,) = results(ask(said, ["upright"]))[0]["result"]
    assert region["value"]["brushlabels"] == ["Dog"]


def test_points_and_boxes(ask: Any, model: SamClip, dog: Path) -> None:
    image = model.encode_image(dog)
    one = model.segment(image, points=[[100, 200]])
    expected = {
        "a point": ([point(100, 200)], one.masks[one.scores.argmax()]),
        "points": (
            [point(100, 200), point(280, 10, positive=False)],
            model.segment(image, points=[[100, 200], [280, 10]], point_labels=[1, 0]).masks[0],
        ),
        "a box": (
            [box(8, 30, 250, 380)],
            model.segment(image, boxes=[8, 30, 250, 380], multimask_output=False).masks[0],
        ),
    }
    for name, (regions, mask) in expected.items():
        (prediction,) = results(ask(config("BrushLabels"), ["upright"], regions))
        (region,) = prediction["result"]
        assert iou(brushed(region), mask) > 0.999, name
        assert region["value"]["brushlabels"] == ["Dog"]


def test_several_boxes_are_an_object_each(ask: Any) -> None:
    regions = [box(8, 30, 250, 380), box(0, 0, 60, 60)]
    (prediction,) = results(ask(config("RectangleLabels", boxes=False), ["upright"], regions))
    assert len(prediction["result"]) == 2


def test_edges_of_the_image_are_in_it(ask: Any) -> None:
    for corner in ((0, 0), (WIDTH, HEIGHT), (WIDTH, 0), (0, HEIGHT)):
        assert results(ask(config("BrushLabels"), ["upright"], [point(*corner)]))
    answer = ask(config("BrushLabels"), ["upright"], [box(-9, -9, WIDTH + 9, HEIGHT + 9)])
    assert brushed(results(answer)[0]["result"][0]).any()


@pytest.mark.parametrize(("one", "other"), [("upright", "turned"), ("grey", "grey_turned")])
def test_turned_and_grey_images(ask: Any, one: str, other: str) -> None:
    first, second = results(ask(config("BrushLabels"), [one, other], [point(100, 200)]))
    assert second["result"][0]["original_width"] == WIDTH
    np.testing.assert_array_equal(brushed(first["result"][0]), brushed(second["result"][0]))


def test_an_image_is_encoded_once(ask: Any) -> None:
    label_studio_backend.encode.cache_clear()
    for x in (50, 100, 150):
        results(ask(config("BrushLabels"), ["upright"], [point(x, 200)]))
    assert label_studio_backend.encode.cache_info().misses == 1


def test_a_damaged_image_costs_no_other_task_its_prediction(
    ask: Any, images: dict[str, Path]
) -> None:
    images["upright"].with_name("damaged.png").write_bytes(b"no image")
    first, second = results(ask(config("BrushLabels"), ["damaged", "upright"]))
    assert (len(first["result"]), len(second["result"])) == (0, 1)


def test_a_configuration_without_an_output_is_refused_in_one_line(ask: Any) -> None:
    said = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"/></View>'
    answer = ask(said, ["upright"])
    assert answer.status_code == 500
    assert "none of these tags: BrushLabels, PolygonLabels" in answer.json["detail"]


def test_events_are_taken_and_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}}
    answer = label_studio_backend.make_app().test_client().post("/webhook", json=event)
    assert answer.status_code == 204
    assert not list(tmp_path.iterdir())
