"""The Gradio page: its events, and the page itself behind its own server and client."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from examples import gradio_app
from samclip_sdk import SamClip

WIDTH, HEIGHT = 288, 384


@pytest.fixture(scope="module")
def finder(model: SamClip) -> gradio_app.Finder:
    return gradio_app.Finder(model)


@pytest.fixture(scope="module")
def opened(finder: gradio_app.Finder, dog: Path) -> gradio_app.Opened:
    kept, shown, corner, _ = finder.open_image(str(dog))
    np.testing.assert_array_equal(shown[0], kept[0])
    assert (shown[1], corner) == ([], None)
    return kept


def click(x: int, y: int) -> gr.SelectData:
    return gr.SelectData(None, {"index": [x, y], "value": None})


def test_texts(finder: gradio_app.Finder, opened: Any, model: SamClip, dog: Path) -> None:
    pixels, ((mask, caption),) = finder.find_texts(opened, " boat,dog, ,dog", False)
    expected = model.segment_text(dog, ["dog"])
    np.testing.assert_array_equal(mask > 0, expected.masks[0])
    assert caption == f"dog {expected.presence[0]:.2f}"
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    _, objects = finder.find_texts(opened, "dog", True)
    expected = model.segment_instances(dog, ["dog"])
    assert [text for _, text in objects] == [f"dog {expected[0].score:.2f}"]


def test_clicks(finder: gradio_app.Finder, opened: Any, model: SamClip, dog: Path) -> None:
    _, ((mask, _),) = finder.find_click(opened, click(100, 200))
    expected = model.segment(dog, points=[[100, 200]])
    np.testing.assert_array_equal(mask > 0, expected.masks[expected.scores.argmax()])
    for corner in ((0, 0), (WIDTH - 1, HEIGHT - 1)):
        finder.find_click(opened, click(*corner))


def test_boxes(finder: gradio_app.Finder, opened: Any, model: SamClip, dog: Path) -> None:
    """Two clicks make a box, in whichever order."""
    expected = model.segment(dog, boxes=[8, 30, 250, 380], multimask_output=False).masks[0]
    for one, other in (((8, 30), (249, 379)), ((249, 30), (8, 379))):
        corner, _, said = finder.find_box(opened, None, click(*one))
        assert str(list(one)) in said
        corner, (_, ((mask, _),)), _ = finder.find_box(opened, corner, click(*other))
        assert corner is None
        np.testing.assert_array_equal(mask > 0, expected)
    corner, _, _ = finder.find_box(opened, None, click(5, 5))
    assert finder.find_box(opened, corner, click(5, 5))[0] is None  # a box of one pixel


@pytest.mark.parametrize("name", ["turned", "grey_turned"])
def test_turned_images(finder: gradio_app.Finder, images: dict[str, Path], name: str) -> None:
    (pixels, image), *_ = finder.open_image(str(images[name]))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (image.frame.height_px, image.frame.width_px) == (HEIGHT, WIDTH)


def test_errors_are_told_in_one_line(
    finder: gradio_app.Finder, opened: Any, tmp_path: Path
) -> None:
    with pytest.raises(gr.Error, match="choose an image first"):
        finder.find_texts(None, "dog", False)
    with pytest.raises(gr.Error, match="label"):
        finder.find_texts(opened, " , ", False)
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(gr.Error, match="not an image"):
        finder.open_image(str(tmp_path / "x.png"))
    assert finder.open_image(None)[0] is None


@pytest.fixture(scope="module")
def client(model: SamClip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    page = gradio_app.build_page(model)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_port=None)
    yield Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("found")))
    page.close()


def test_the_page_answers_over_http(client: Client, dog: Path, model: SamClip) -> None:
    client.predict(handle_file(str(dog)), api_name="/open")
    found = client.predict("dog, boat", False, api_name="/find_texts")
    ((mask_path, label),) = [(each["image"], each["label"]) for each in found["annotations"]]
    assert label.startswith("dog ")
    with Image.open(mask_path) as drawn:
        mask = np.asarray(drawn.convert("RGBA"))[..., 3] > 0
    np.testing.assert_array_equal(mask, model.segment_text(dog, ["dog"]).masks[0])


def test_the_script_starts_with_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **options: launched.append(options))
    monkeypatch.setattr(sys, "argv", ["gradio_app.py", "--port", "7999"])
    runpy.run_path(gradio_app.__file__, run_name="__main__")
    assert launched[0]["server_port"] == 7999
    assert launched[0]["server_name"] is None  # Gradio's own default, which a Space sets
