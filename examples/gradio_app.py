"""A Gradio page that segments an image by texts, clicks and boxes.

    pip install 'samclip-sdk[onnx]' gradio
    python examples/gradio_app.py

An image is encoded once, when it is opened. The answers to every text, click and box use this
embedding.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from samclip_sdk import ImageEmbedding, SamClip, SamClipError
from samclip_sdk.bundle import DEFAULT_MODEL
from samclip_sdk.image import load_image
from samclip_sdk.results import MaskItem

IMAGES = Path(__file__).parent / "images"
OPACITY = 0.6
FIRST_CORNER = "Click two opposite corners of a box on the image."

Opened = tuple[np.ndarray, ImageEmbedding]
"""What a visitor has open: the image, uint8 [H,W,3] and upright, and what the backbone made."""


class Finder:
    """The functions of the page's events; it holds the model, and no data of visitors."""

    def __init__(self, model: SamClip) -> None:
        self.model = model

    def open_image(self, path: str | None) -> tuple[Opened | None, Any, None, str]:
        """Encodes an image; returns its embedding, its overlay, and no corner of a box."""
        if path is None:
            return None, None, None, FIRST_CORNER
        with told_on_the_page():
            pixels = load_image(path)
            return (pixels, self.model.encode_image(pixels)), (pixels, []), None, FIRST_CORNER

    def find_texts(self, opened: Opened | None, texts: str, apart: bool) -> Any:
        """The masks of texts separated by commas; with `apart`, the masks of their objects."""
        pixels, image = required(opened)
        labels = list(dict.fromkeys(each.strip() for each in texts.split(",") if each.strip()))
        with told_on_the_page():
            if apart:
                objects = self.model.segment_instances(image, labels)
                return overlay(pixels, objects, lambda each: f"{each.label} {each.score:.2f}")
            masks = self.model.segment_text(image, labels)
            return overlay(pixels, masks, lambda each: f"{each.label} {each.presence:.2f}")

    def find_click(self, opened: Opened | None, click: gr.SelectData) -> Any:
        """The thing under a click: the best of three masks."""
        pixels, image = required(opened)
        masks = self.model.segment(image, points=[click.index])
        best = masks[int(np.argmax(masks.scores))]
        return overlay(pixels, [best], lambda each: f"{each.score:.2f}")

    def find_box(
        self, opened: Opened | None, corner: list[int] | None, click: gr.SelectData
    ) -> tuple[list[int] | None, Any, str]:
        """Keeps the first corner of a box; with the second one, segments the box."""
        pixels, image = required(opened)
        if corner is None:
            return list(click.index), gr.skip(), f"One corner is {click.index}: click the other."
        near, far = np.minimum(corner, click.index), np.maximum(corner, click.index) + 1
        masks = self.model.segment(image, boxes=[*near, *far])
        return None, overlay(pixels, masks, lambda each: f"{each.score:.2f}"), FIRST_CORNER


@contextmanager
def told_on_the_page() -> Any:
    """Shows the SDK's one-line errors as messages on the page."""
    try:
        yield
    except SamClipError as error:
        raise gr.Error(str(error)) from error


def required(opened: Opened | None) -> Opened:
    if opened is None:
        raise gr.Error("choose an image first")
    return opened


def overlay(
    pixels: np.ndarray, items: Iterable[MaskItem], caption: Callable[[Any], str]
) -> tuple[np.ndarray, list[tuple[np.ndarray, str]]]:
    """An image and its masks in Gradio's form, without empty masks."""
    return pixels, [(each.mask * OPACITY, caption(each)) for each in items if each.area]


def build_page(model: SamClip) -> gr.Blocks:
    """The page: an image, three ways to ask, and the masks that were found."""
    finder = Finder(model)
    with gr.Blocks(title="samclip", analytics_enabled=False) as page:
        opened, corner = gr.State(), gr.State()
        with gr.Row():
            with gr.Column(), gr.Tabs():
                with gr.Tab("Text"):
                    image = gr.Image(type="filepath", label="Image")
                    texts = gr.Textbox("dog, cat, motorcycle, flower", label="What to find")
                    apart = gr.Checkbox(label="Tell the objects of a text apart")
                    find = gr.Button("Find", variant="primary")
                    samples = sorted(str(path) for path in IMAGES.glob("*.jpg"))
                    gr.Examples(samples, image, examples_per_page=6)
                with gr.Tab("Click"):
                    clicked = gr.Image(label="Click on a thing", interactive=False)
                with gr.Tab("Box"):
                    said = gr.Markdown(FIRST_CORNER)
                    boxed = gr.Image(show_label=False, interactive=False)
            found = gr.AnnotatedImage(label="Found", format="png")
        shown = image.change(
            finder.open_image, image, [opened, found, corner, said], api_name="open"
        )
        for target in (clicked, boxed):
            shown.then(lambda kept: kept and kept[0], opened, target, api_name=False)
        for ask in (find.click, texts.submit):
            ask(finder.find_texts, [opened, texts, apart], found, api_name="find_texts")
        clicked.select(finder.find_click, opened, found, api_name=False)
        boxed.select(finder.find_box, [opened, corner], [corner, found, said], api_name=False)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="texts, clicks and boxes on images, as a page")
    parser.add_argument("--host", help="else GRADIO_SERVER_NAME, as Spaces set it, or this machine")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()
    with SamClip.load(options.runtime, model=options.model) as model:
        page = build_page(model)
        page.launch(server_name=options.host, server_port=options.port, allowed_paths=[str(IMAGES)])


if __name__ == "__main__":
    main()
