"""Points, boxes and masks at real sizes: into the model's frame and back, to a pixel.

What a decoder would draw stands in for it: logits that are the distance to a box's edges. They are
linear, so that every step may keep the box to the pixel. Images are turned as cameras turn them.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samclip_sdk import SamClip
from samclip_sdk.engine.objects import upscale_and_pack
from samclip_sdk.image.frame import Frame, center_crop, letterbox
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.image.loading import load_image
from samclip_sdk.image.masks import binarize, mask_to_box, mask_to_model
from tests.fake_source import fake_client

RESOLUTION, SIDE = 1024, 256
Box = tuple[int, int, int, int]
Size = tuple[int, int]
REAL: list[Size] = [(3024, 4032), (4032, 3024), (480, 640), (1080, 1920), (333, 500)]
THIN: list[Size] = [(1, 5000), (5000, 1), (3, 4000), (20_000, 10)]
sizes = st.sampled_from([*REAL, *THIN])
shares = st.floats(0, 1)
TURNS = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}
"""Orientation -> Pillow's transpositions that make of an upright image what the camera stores."""


def stretch(length: int, start: float, share: float, *, value: int) -> tuple[int, int]:
    """A part of a side of an image, 8 values of a mask long or the whole side.

    Between it and the end of the side is a value or nothing: a mask knows of nothing in between.
    """
    if length <= 8 * value:
        return 0, length
    long = 8 * value + int(share * (length - 8 * value))
    first = int(start * (length - long))
    last = first + long
    return first if first >= value else 0, last if length - last >= value else length


@st.composite
def scenes(draw: st.DrawFn, of: st.SearchStrategy[Size], count: int = 1) -> tuple[Size, list[Box]]:
    """A size, and boxes that are apart along its longer side."""
    height, width = size = draw(of)
    value = -(-max(size) // SIDE)
    boxes = []
    for index in range(count):
        along = stretch(max(size) // count, draw(shares), draw(shares), value=value)
        first, last = (index * (max(size) // count) + each for each in along)
        last -= 2 * value if count > 1 else 0
        top, bottom = stretch(min(size), draw(shares), draw(shares), value=value)
        boxes.append((first, top, last, bottom) if width >= height else (top, first, bottom, last))
    return size, boxes


def drawn(box: Box, frame: Frame) -> np.ndarray:
    """Logits [SIDE,SIDE]: how far inside a box a value is; the image's edges bound nothing."""
    corners = np.reshape(box, (2, 2))
    edges = frame.to_model(corners) * SIDE / frame.resolution
    inner = (corners > 0) & (corners < (frame.width_px, frame.height_px))
    centres = np.arange(SIDE) + 0.5
    logits = np.full((SIDE, SIDE), float(SIDE), dtype=np.float32)
    for axis, index in enumerate((centres[None, :], centres[:, None])):
        for corner, sign in ((0, 1), (1, -1)):
            if inner[corner, axis]:
                logits = np.minimum(logits, sign * (index - edges[corner, axis]))
    return logits.astype(np.float32)


def filled(size: Size, box: Box) -> np.ndarray:
    x0, y0, x1, y1 = box
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@given(scene=scenes(sizes))
@settings(max_examples=25)
def test_boxes_and_points_are_asked_for_where_they_are(scene: tuple[Size, list[Box]]) -> None:
    """As SAM takes them: half a pixel of the model before the place."""
    size, boxes = scene
    frame = Frame.fit(*size, resolution=RESOLUTION)
    middles = [[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in boxes]
    asked = image_prompts([middles], boxes=boxes).in_model(frame, mask_side=SIDE)
    coords = asked.point_coords[0][asked.point_labels[0] >= 0]
    expected = np.array([*middles, *np.reshape(boxes, (-1, 2))])
    scale = max(size) / RESOLUTION
    assert np.abs(frame.to_image(coords) - expected).max() <= max(1, scale)


@given(scene=scenes(sizes))
@settings(max_examples=15)
def test_a_mask_comes_back_where_it_was(scene: tuple[Size, list[Box]]) -> None:
    size, (box,) = scene
    frame = Frame.fit(*size, resolution=RESOLUTION)
    logits = drawn(box, frame)
    (mask,) = binarize(logits[None], frame=frame)
    assert mask.shape == size
    np.testing.assert_allclose(mask_to_box(mask), box, atol=1)
    packed, stability = upscale_and_pack(
        logits, frame=frame, mask_threshold=0, stability_offset=0.5
    )
    np.testing.assert_allclose(packed.box, mask_to_box(mask), atol=1)
    assert 0.5 < stability <= 1
    # A mask that is given goes the other way.
    there = mask_to_box(mask_to_model(filled(size, box), frame=frame) > 0.5)
    np.testing.assert_allclose(there.reshape(2, 2), frame.to_model(np.reshape(box, (2, 2))), atol=1)


@settings(max_examples=60)
@given(scenes(sizes), st.sampled_from([0.0, 0.1]))
def test_the_masks_of_a_box_end_there(scene: tuple[Size, list[Box]], margin: float) -> None:
    size, (box,) = scene
    frame = Frame.fit(*size, resolution=RESOLUTION)
    asked = image_prompts(boxes=box).in_model(frame, mask_side=SIDE)
    logits = np.full((1, 3, SIDE, SIDE), 10, dtype=np.float32)
    asked.keep_in_boxes(logits, margin=margin)
    (mask,) = binarize(logits[0, 2:], frame=frame)
    sides = np.tile(np.subtract(box[2:], box[:2]), 2)
    grown = np.clip(box + margin * sides * (-1, -1, 1, 1), 0, np.tile(size[::-1], 2))
    value = max(size) / SIDE
    np.testing.assert_allclose(mask_to_box(mask), grown, atol=1.5 * max(value, 1))


def test_corners_may_come_in_any_order_and_a_point_bounds_nothing() -> None:
    points = [[[40, 29], [5, 5], [10, 10]], [[1, 1], [5, 5], [9, 9]]]
    asked = image_prompts(points, point_labels=[[3, 1, 2], [1, 1, 1]])
    logits = np.full((2, 1, 16, 16), 10, dtype=np.float32)
    frame = Frame.fit(64, 64, resolution=64)
    asked.in_model(frame, mask_side=16).keep_in_boxes(logits, margin=0.0)
    assert mask_to_box(logits[0, 0] > 0).tolist() == [2, 2, 10, 8]
    assert (logits[1] == 10).all()


def test_masks_end_at_a_box_only_where_the_bundle_says_so(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    image, box = np.zeros((64, 64, 3), np.uint8), (8, 16, 40, 48)
    everywhere = np.full((16, 16), 9)
    (whole,) = model.segment(image, boxes=box, mask_input=everywhere).masks
    assert whole.all()
    kept = source.manifest.calibration.model_copy(update={"box_margin": 0.0})
    source.manifest = source.manifest.model_copy(update={"calibration": kept})
    found = SamClip(source).segment(image, boxes=box, mask_input=everywhere)
    np.testing.assert_allclose(found.boxes, [box], atol=1)
    assert found.low_res_masks.min() == -10


def photograph(size: Size, box: Box, *, orientation: int) -> bytes:
    """A white box on black, stored as a camera that was held so stores it."""
    image = Image.fromarray(filled(size, box).astype(np.uint8) * 255).convert("RGB")
    for turn in TURNS[orientation]:
        image = image.transpose(Image.Transpose(turn))
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(content, "PNG", exif=exif, compress_level=1)
    return content.getvalue()


@pytest.mark.parametrize("orientation", TURNS)
@given(scene=scenes(sizes))
@settings(max_examples=2)
def test_a_turned_photograph_is_seen_where_it_is(
    orientation: int, scene: tuple[Size, list[Box]]
) -> None:
    size, (box,) = scene
    content = photograph(size, box, orientation=orientation)
    image = load_image(content)
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(load_image(opened), image)
    np.testing.assert_array_equal(mask_to_box(image[..., 0] > 127), box)
    square, frame = letterbox(image, resolution=RESOLUTION, pad_colour=(0, 0, 0))
    assert (frame.height_px, frame.width_px) == size
    there = mask_to_box(square[0, 0] > 127).reshape(2, 2)
    np.testing.assert_allclose(there, frame.to_model(np.reshape(box, (2, 2))), atol=1)
    assert center_crop(image, resolution=64).shape == (1, 3, 64, 64)


@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)) | sizes,
    side=st.sampled_from([64, 576]),
)
@settings(max_examples=25)
def test_a_letterbox_has_the_pixels_of_pillow(size: Size, side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    square, frame = letterbox(image, resolution=side, pad_colour=(1, 2, 3))
    rows, columns = frame.resized_height_px, frame.resized_width_px
    expected = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.moveaxis(square[0, :, :rows, :columns], 0, -1), expected)
    assert (square[0, :, rows:, 0] == [[1], [2], [3]]).all()
    assert (square[0, :, 0, columns:] == [[1], [2], [3]]).all()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_the_verbs_answer_in_the_upright_image(
    tmp_path: Path, size: Size, orientation: int
) -> None:
    """To a value of the decoder's masks, of which the fake one has 16 a side."""
    box: Box = (40, 200, 360, 440)
    path = tmp_path / "photograph.png"
    path.write_bytes(photograph(size, box, orientation=orientation))
    model, _ = fake_client(tmp_path)
    found = model.segment(path, boxes=box, multimask_output=False)
    assert found.masks.shape == (1, *size)
    np.testing.assert_allclose(found.boxes, [box], atol=max(size) / 16)
    x, y = 320, 100
    (mask,) = model.segment(path, points=[[x, y]], multimask_output=False).masks
    middle = mask_to_box(mask).reshape(2, 2).mean(axis=0)
    np.testing.assert_allclose(middle, [x, y], atol=max(size) / 16)
