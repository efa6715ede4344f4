"""The model for X-AnyLabeling-Server, in a double of the server.

The registry has no package of the server. What the model touches of it is made here as its
documentation and source describe it: `BaseModel`, `register_model`, `Shape`, and the files that it
reads. Nothing here shows that the real server starts.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from examples.integrations.tests.conftest import iou
from samclip_sdk import SamClip

SOURCE = Path(__file__).parents[1] / "x_anylabeling"
WIDTH, HEIGHT = 288, 384
DOUBLE = {
    "app/__init__.py": "",
    "app/core/__init__.py": "",
    "app/core/registry.py": """
REGISTERED = {}

def register_model(*names):
    def register(model):
        REGISTERED.update(dict.fromkeys(names, model))
        return model
    return register
""",
    "app/schemas/__init__.py": "",
    "app/schemas/shape.py": """
from typing import Literal, Optional
from pydantic import BaseModel, Field

class Shape(BaseModel):
    label: str
    shape_type: Literal["polygon", "rectangle", "rotation", "point", "line", "circle", "linestrip"]
    points: list[list[float]]
    score: Optional[float] = Field(None, ge=0, le=1)
""",
    "app/models/__init__.py": """
from abc import ABC, abstractmethod

class BaseModel(ABC):
    def __init__(self, config):
        self.config = config
        self.params = config.get("params", {})

    @abstractmethod
    def load(self): ...

    @abstractmethod
    def predict(self, image, params): ...

    @abstractmethod
    def unload(self): ...
""",
}
# Of X-AnyLabeling's panel for a remote server, as its source names them.
WIDGETS = {
    *("edit_text", "button_send", "button_run", "button_add_point", "button_remove_point"),
    *("button_add_rect", "button_clear", "button_finish_object"),
    "toggle_preserve_existing_annotations",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The model as the server's registry has it, loaded with the parameters of its YAML file."""
    folder = tmp_path_factory.mktemp("server")
    for name, text in DOUBLE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(SOURCE / "samclip.py", folder / "app" / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.import_module("app.models.samclip")
        config = yaml.safe_load((SOURCE / "samclip.yaml").read_text(encoding="utf-8"))
        (name,) = yaml.safe_load((SOURCE / "models.yaml").read_text(encoding="utf-8"))[
            "enabled_models"
        ]
        assert name == config["model_id"]
        model = sys.modules["app.core.registry"].REGISTERED[name](config)
        model.load()
        yield model
        model.unload()
    for name in [each for each in sys.modules if each.partition(".")[0] == "app"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def image(dog: Path) -> np.ndarray:
    """The dog as the server decodes it, BGR."""
    return cv2.imread(str(dog))


# What X-AnyLabeling sends with each request.
ALWAYS = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001}


def ask(server: Any, image: np.ndarray, **params: Any) -> list[Any]:
    answer = server.predict(image, {**ALWAYS, **params})
    assert answer["description"] == ""
    return answer["shapes"]


def filled(shapes: list[Any]) -> np.ndarray:
    """The mask [4H,4W] of polygons, in an image of four times the size."""
    canvas = np.zeros((4 * HEIGHT, 4 * WIDTH), dtype=np.uint8)
    for shape in shapes:
        assert shape.shape_type == "polygon"
        assert shape.points[0] == shape.points[-1]
        cv2.fillPoly(canvas, [4 * np.array(shape.points, dtype=np.int32)], 1)
    return canvas > 0


def four_times(mask: np.ndarray) -> np.ndarray:
    return mask.repeat(4, axis=0).repeat(4, axis=1)


def point(x: float, y: float, label: int = 1) -> dict[str, Any]:
    return {"type": "point", "data": [x, y], "label": label}


def test_the_yaml_file_keeps_the_server_s_rules() -> None:
    config = yaml.safe_load((SOURCE / "samclip.yaml").read_text(encoding="utf-8"))
    widgets = {each["name"]: each["value"] for each in config["widgets"]}
    assert set(widgets) == WIDGETS
    assert widgets["toggle_preserve_existing_annotations"] is False
    assert config["batch_processing_mode"] in ("default", "text_prompt")
    assert config["display_name"]


def test_texts(server: Any, image: np.ndarray, model: SamClip, dog: Path) -> None:
    expected = model.segment_instances(dog, ["dog"])[0]
    for text in ("dog", "boat, dog", "boat.dog.dog"):
        shapes = ask(server, image, text_prompt=text)
        assert {shape.label for shape in shapes} == {"dog"}
        assert iou(filled(shapes), four_times(expected.mask)) > 0.97
        assert shapes[0].score == pytest.approx(expected.score)
    assert ask(server, image, text_prompt="submarine") == []


def test_points_and_boxes(server: Any, image: np.ndarray, model: SamClip, dog: Path) -> None:
    encoded = model.encode_image(dog)
    one = model.segment(encoded, points=[[100, 200]])
    two = {"points": [[100, 200], [280, 10]], "point_labels": [1, 0]}
    box = [8, 30, 250, 380]
    cases = (
        ([point(100, 200)], one.masks[one.scores.argmax()]),
        (
            [point(100, 200), point(280, 10, 0)],
            model.segment(encoded, **two).masks[0],
        ),
        (
            [{"type": "rectangle", "data": [250, 380, 8, 30], "label": 1}],
            model.segment(encoded, boxes=box, multimask_output=False).masks[0],
        ),
        (
            [{"type": "rectangle", "data": box, "label": 1}, point(100, 200), point(280, 10, 0)],
            model.segment(encoded, **two, boxes=box).masks[0],
        ),
    )
    for marks, mask in cases:
        shapes = ask(server, image, marks=marks)
        assert iou(filled(shapes), four_times(mask)) > 0.95
        assert {shape.label for shape in shapes} == {"AUTOLABEL_OBJECT"}


def test_edges_of_the_image_are_in_it(server: Any, image: np.ndarray) -> None:
    for corner in ((0, 0), (WIDTH, HEIGHT)):
        ask(server, image, marks=[point(*corner)])
    beyond = {"type": "rectangle", "data": [-9, -9, WIDTH + 9, HEIGHT + 9], "label": 1}
    corners = np.concatenate([shape.points for shape in ask(server, image, marks=[beyond])])
    assert corners.min() >= 0
    assert (corners <= (WIDTH, HEIGHT)).all()


def test_boxes_are_drawn_if_the_parameters_say_so(
    server: Any, image: np.ndarray, model: SamClip, dog: Path
) -> None:
    (shape,) = ask(server, image, text_prompt="dog", show_masks=False, show_boxes=True)
    x0, y0, x1, y1 = model.segment_instances(dog, ["dog"])[0].box.tolist()
    assert shape.shape_type == "rectangle"
    assert shape.points == [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    assert ask(server, image, text_prompt="dog", conf_threshold=0.999) == []


def test_everything_has_a_name(server: Any, image: np.ndarray) -> None:
    shapes = ask(server, image, points_per_side=6)
    assert shapes
    assert all(shape.label for shape in shapes)


def test_an_image_is_encoded_once(
    server: Any, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    encode = server.model.encode_image
    monkeypatch.setattr(
        server.model, "encode_image", lambda pixels: calls.append(pixels.shape) or encode(pixels)
    )
    monkeypatch.setattr(sys.modules["app.models.samclip"], "KEPT_IMAGES", 2)
    server._encoded.clear()
    for darker in (0, 1, 0, 1, 2, 1, 0):  # the last one comes after two others
        ask(server, image - np.minimum(image, darker), marks=[point(100, 200)])
    assert calls == [image.shape] * 4
    assert len(server._encoded) == 2
