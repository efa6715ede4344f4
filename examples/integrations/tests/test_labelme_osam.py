"""samclip as a model of osam's, over osam's interface and HTTP, and in labelme's own window."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import osam
import pytest
from fastapi.testclient import TestClient
from labelme.app import MainWindow
from osam.types import Annotation, GenerateRequest, Prompt
from PIL import Image
from PyQt5.QtCore import QPointF
from PyQt5.QtWidgets import QApplication

from examples.integrations import labelme_osam
from examples.integrations.tests.conftest import iou
from samclip_sdk import SamClip
from samclip_sdk.image import load_image

WIDTH, HEIGHT = 288, 384


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    labelme_osam.register()
    labelme_osam.register()
    names = [each.name for each in osam.apis.registered_model_types]
    assert names.count("samclip:latest") == 1


@pytest.fixture(scope="module")
def pixels(dog: Path) -> np.ndarray:
    return load_image(str(dog))


def whole(annotation: Annotation) -> np.ndarray:
    """The mask [H,W] of an annotation, which is cut to its box."""
    box, mask = annotation.bounding_box, np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[box.ymin : box.ymax + 1, box.xmin : box.xmax + 1] = annotation.mask
    return mask


def generate(pixels: np.ndarray, **prompt: Any) -> list[Annotation]:
    request = GenerateRequest(model="samclip", image=pixels, prompt=Prompt(**prompt))
    return osam.apis.generate(request).annotations


def test_texts(pixels: np.ndarray, model: SamClip) -> None:
    (found,) = generate(pixels, texts=["boat", " dog"])
    expected = model.segment_instances(pixels, ["dog"])[0]
    assert found.text == " dog", "labelme looks the text up among those that it gave"
    assert found.score == pytest.approx(expected.score)
    np.testing.assert_array_equal(whole(found), expected.mask)
    assert generate(pixels, texts=["dog"], score_threshold=0.999) == []


def test_points_and_boxes(pixels: np.ndarray, model: SamClip) -> None:
    image = model.encode_image(pixels)
    one = model.segment(image, points=[[100, 200]])
    box = [[8, 30], [250, 380]]
    cases = {
        "a point": (([[100, 200]], [1]), one.masks[one.scores.argmax()]),
        "points": (
            ([[100, 200], [280, 10]], [1, 0]),
            model.segment(image, points=[[100, 200], [280, 10]], point_labels=[1, 0]).masks[0],
        ),
        "a box": (
            (box, [2, 3]),
            model.segment(image, boxes=np.ravel(box), multimask_output=False).masks[0],
        ),
    }
    for name, ((points, labels), mask) in cases.items():
        (found,) = generate(pixels, points=np.array(points), point_labels=np.array(labels))
        np.testing.assert_array_equal(whole(found), mask, err_msg=name)


def test_edges_of_the_image_are_in_it(pixels: np.ndarray) -> None:
    for corner in ((0, 0), (WIDTH, HEIGHT)):
        generate(pixels, points=np.array([corner], float), point_labels=np.array([1]))
    beyond = np.array([[-9.0, -9.0], [WIDTH + 9.0, HEIGHT + 9.0]])
    (found,) = generate(pixels, points=beyond, point_labels=np.array([2, 3]))
    assert whole(found).any()


def test_an_embedding_stands_for_its_image(pixels: np.ndarray) -> None:
    """As labelme asks again, and a client over HTTP, whose embedding has been JSON."""
    model = labelme_osam.SamClipOsam()
    embedding = model.encode_image(pixels)
    carried = osam.types.ImageEmbedding.model_validate_json(embedding.model_dump_json())
    prompt = Prompt(points=np.array([[100, 200]]), point_labels=np.array([1]))
    answers = [
        model.generate(GenerateRequest(model="samclip", image_embedding=each, prompt=prompt))
        for each in (embedding, carried)
    ]
    first, second = (whole(each.annotations[0]) for each in answers)
    np.testing.assert_array_equal(first, second)
    assert first.any()


def test_bad_requests_are_refused_in_one_line(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="give a prompt"):
        osam.apis.generate(GenerateRequest(model="samclip", image=pixels))
    with pytest.raises(ValueError, match="give an image"):
        osam.apis.generate(GenerateRequest(model="samclip", prompt=Prompt(texts=["dog"])))
    with pytest.raises(ValueError, match="empty"):
        generate(pixels, texts=[""])
    other = osam.types.ImageEmbedding(
        original_height=9, original_width=9, embedding=np.zeros((1, 2, 2), np.float32)
    )
    other.extra_features = [np.zeros((1, 2, 2), np.float32)]
    prompt = Prompt(texts=["dog"])
    request = GenerateRequest(model="samclip", image_embedding=other, prompt=prompt)
    with pytest.raises(ValueError, match="encode the image again"):
        osam.apis.generate(request)


def test_over_http(dog: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # osam logs to ~/.cache/osam
    from osam._server import app

    content = base64.b64encode(dog.read_bytes()).decode()
    body = {"model": "samclip", "image": content, "prompt": {"texts": ["dog"]}}
    client = TestClient(app)
    answer = client.post("/api/generate", json=body)
    assert answer.status_code == 200
    assert [each["text"] for each in answer.json()["annotations"]] == ["dog"]
    body["prompt"] = {"points": [[100, 200]], "point_labels": [1], "texts": None}
    assert client.post("/api/generate", json=body).status_code == 200
    assert client.post("/api/generate", json={**body, "prompt": None}).status_code == 400


# --- in labelme's window -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def application() -> Iterator[QApplication]:
    labelme_osam.register_in_labelme()
    yield QApplication([])
    labelme_osam.SamClipOsam.blue_first = False


@pytest.fixture
def open_labelme(application: QApplication) -> Iterator[Any]:
    windows = []

    def open_window(image: Path) -> MainWindow:
        overrides = {"ai": {"default": "samclip"}, "auto_save": False}
        window = MainWindow(config_overrides=overrides, file_or_dir=str(image))
        windows.append(window)
        window.show()
        application.processEvents()
        return window

    yield open_window
    for window in windows:
        window.mark_clean()
        window.close()


def masked(window: MainWindow) -> np.ndarray:
    """The mask [H,W] of all shapes in a window, which are masks."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for shape in window._canvas_widgets.canvas.shapes:
        x, y = int(shape.points[0].x()), int(shape.points[0].y())
        rows, columns = shape.mask.shape
        mask[y : y + rows, x : x + columns] |= shape.mask
    return mask


def shown(window: MainWindow) -> Image.Image:
    """What a window shows, which is a JPEG of labelme's own if EXIF turns the image."""
    assert window._image_data is not None
    return Image.open(io.BytesIO(window._image_data)).convert("RGB")


@pytest.mark.parametrize("name", ["upright", "turned", "grey", "grey_turned"])
def test_labelme_annotates_texts(
    open_labelme: Any, images: dict[str, Path], name: str, model: SamClip
) -> None:
    window = open_labelme(images[name])
    assert window._ai_text.get_model_name() == "samclip:latest"
    window._ai_annotation._output_format_combo.setCurrentIndex(1)  # masks
    window._switch_canvas_mode(edit=False, create_mode="ai_box_to_shape")
    window._ai_text._text_input.setText("boat, dog")
    window._submit_ai_prompt(False)
    assert [shape.label for shape in window._canvas_widgets.canvas.shapes] == [" dog"]
    expected = model.segment_instances(shown(window), ["dog"])[0].mask
    assert iou(masked(window), expected) > 0.9999
    own = model.segment_instances(images[name], ["dog"])[0].mask
    assert iou(expected, own) > 0.9


@pytest.mark.parametrize("name", ["upright", "turned", "grey"])
def test_labelme_annotates_points_and_boxes(
    open_labelme: Any, images: dict[str, Path], name: str, model: SamClip
) -> None:
    window = open_labelme(images[name])
    canvas = window._canvas_widgets.canvas
    assert canvas.get_ai_model_name() == "samclip:latest"
    canvas.set_ai_output_format("mask")
    image = model.encode_image(shown(window))
    one = model.segment(image, points=[[100, 200]])
    for points, labels, expected in (
        ([(100, 200)], [1], one.masks[one.scores.argmax()]),
        (
            [(8, 30), (250, 380)],
            [2, 3],
            model.segment(image, boxes=[8, 30, 250, 380], multimask_output=False).masks[0],
        ),
    ):
        canvas.shapes = []  # labelme drops what overlaps a shape that is there.
        canvas.shapes = canvas._shapes_from_ai_points([QPointF(*each) for each in points], labels)
        assert iou(masked(window), expected) > 0.9999


def test_labelme_encodes_an_image_once(
    open_labelme: Any, dog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    encode = labelme_osam.SamClipOsam.encode_image
    monkeypatch.setattr(
        labelme_osam.SamClipOsam,
        "encode_image",
        lambda self, image: calls.append(image.shape) or encode(self, image),
    )
    canvas = open_labelme(dog)._canvas_widgets.canvas
    for x in (50, 100, 150):
        canvas._shapes_from_ai_points([QPointF(x, 200)], [1])
    assert calls == [(HEIGHT, WIDTH, 3)]
