"""Arrays in BGR, as OpenCV reads images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from samclip_sdk import PromptError, SamClip
from tests.refusals import refused

DOG = Path(__file__).parents[1] / "examples" / "images" / "dog.jpg"


def test_an_array_in_bgr_is_answered_as_its_image() -> None:
    rgb = np.asarray(Image.open(DOG))
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    with SamClip.load("onnx", bgr=True) as model, SamClip.load("onnx") as plain:
        expected = plain.segment_text(rgb, ["dog", "boat"])
        sources = [
            bgr,
            DOG,
            Image.open(DOG),
            np.dstack([bgr, np.full(bgr.shape[:2], 255, "uint8")]),
        ]
        for given in (sources, iter(sources)):
            for found in model.segment_text(given, ["dog", "boat"]):
                np.testing.assert_array_equal(found.presence, expected.presence)
                np.testing.assert_array_equal(found.plot(), expected.plot())
        tiled, whole = (
            each.segment_text(source, ["dog"], tiles=(1, 2))
            for each, source in ((model, bgr), (plain, rgb))
        )
        np.testing.assert_array_equal(tiled.plot(), whole.plot())
        (frame,) = model.stream(iter([bgr]), ["dog"])
        np.testing.assert_array_equal(frame.plot(), next(plain.stream(iter([rgb]), ["dog"])).plot())
        assert (plain.segment_text(bgr, ["dog"]).asked.presence != expected.presence[:1]).any()


def test_bgr_is_yes_or_no() -> None:
    refused(lambda: SamClip.load("onnx", bgr="yes"), PromptError, "bgr")
