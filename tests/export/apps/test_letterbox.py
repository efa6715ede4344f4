"""The graph that fits images is Pillow, within one level, at every size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from export.apps.letterbox import letterbox_graph
from export.images import half_sized
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.device.goldens.formula import formula_image
from samclip_sdk.image.frame import letterbox

SIDE = 128


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    graph = ir.to_proto(letterbox_graph(SIDE, pad_colour=PAD_COLOUR)).SerializeToString()
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "size",
    [
        (62, 96),
        (301, 453),
        (437, 211),
        (128, 128),
        (129, 128),
        (3, 900),
        (1, 2),
        (2, 1),
        (257, 255),
    ],
)
def test_it_fits_as_pillow_does(session: ort.InferenceSession, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for pixels in (formula_image(*size), noise):
        expected, frame = letterbox(pixels, resolution=SIDE, pad_colour=PAD_COLOUR)
        image, extent = session.run(["image", "extent"], {"picture": pixels})
        assert extent.tolist() == [frame.resized_height_px, frame.resized_width_px]
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("size", [(57, 57), (62, 96), (301, 453), (128, 1)])
def test_twice_the_size_is_pillows_to_the_level(
    session: ort.InferenceSession, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = half_sized(noise, resolution=SIDE)
    assert max(image.shape) == SIDE // 2
    expected, _ = letterbox(image, resolution=SIDE, pad_colour=PAD_COLOUR)
    np.testing.assert_array_equal(session.run(["image"], {"picture": image})[0], expected)


def test_sides_are_rounded_as_python_rounds_them(session: ort.InferenceSession) -> None:
    """Halves go up: 128 * 5 / 256 is 2.5."""
    for height in range(1, 60):
        image = np.zeros((height, 256, 3), dtype=np.uint8)
        (extent,) = session.run(["extent"], {"picture": image})
        assert extent[0] == max(1, int(height * SIDE / 256 + 0.5))
