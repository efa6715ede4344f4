from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from samclip_sdk.image import Frame
from samclip_sdk.masks import (
    COLOURS,
    binarize,
    draw_captions,
    draw_overlay,
    mask_to_box,
    mask_to_polygons,
    mask_to_rle,
    rle_to_mask,
)

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


def disk(height: int, width: int, *, x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:height, :width]
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


# --- logits to masks ---------------------------------------------------------------------------


def test_a_shape_comes_back_where_it_was() -> None:
    """Through the model frame and back, on an image that is not square."""
    height, width = 300, 500
    frame = Frame.fit(height, width, resolution=256)
    centre = np.array([400.0, 80.0])
    x, y = frame.to_model(centre) / 4
    radius = 40 * frame.resized_width_px / width / 4
    rows, columns = np.mgrid[:64, :64] + 0.5
    logits = (radius - np.hypot(columns - x, rows - y)).astype(np.float32)[None]
    mask = binarize(logits, frame=frame)[0]
    expected = disk(height, width, x=400, y=80, radius=40)
    iou = (mask & expected).sum() / (mask | expected).sum()
    assert iou > 0.95
    np.testing.assert_allclose(mask_to_box(mask), [360, 40, 440, 120], atol=2)


def test_padding_never_reaches_the_mask() -> None:
    """The image fills the top half; what the decoder says below it is cut off."""
    logits = np.full((1, 16, 16), -1.0, dtype=np.float32)
    logits[:, 10:] = 100.0
    assert not binarize(logits, frame=Frame.fit(32, 64, resolution=64)).any()


def test_no_masks_at_all() -> None:
    assert binarize(
        np.zeros((0, 16, 16), np.float32), frame=Frame.fit(5, 6, resolution=64)
    ).shape == (0, 5, 6)


# --- boxes, RLE, polygons ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@given(MASKS)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((3, 5), dtype=bool))
def test_rle_and_box_are_those_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = mask_to_rle(mask)
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
    np.testing.assert_array_equal(coco.decode(ours).astype(bool), mask)
    np.testing.assert_array_equal(rle_to_mask(theirs), mask)
    np.testing.assert_array_equal(rle_to_mask(ours), mask)
    x, y, width, height = coco.toBbox(theirs)
    np.testing.assert_array_equal(mask_to_box(mask), [x, y, x + width, y + height])


def test_rle_of_long_runs() -> None:
    """Runs of a million pixels need five digits, and differences to them have both signs."""
    mask = np.zeros((1500, 2000), dtype=bool)
    mask[:, :900] = True
    mask[:3, 1000:1002] = True
    mask[7:, 1500:] = True
    ours = mask_to_rle(mask)
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert ours["counts"] == expected
    np.testing.assert_array_equal(rle_to_mask(ours), mask)


@pytest.mark.parametrize("counts", ["", "1", "P", "0" * 9, "é", b"\x05", "o" * 30, "1Q1"])
def test_damaged_rle_is_refused(counts: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"counts|ascii"):
        rle_to_mask({"size": [3, 5], "counts": counts})


def test_a_box_is_tight_and_its_far_edges_are_exclusive() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    assert mask_to_box(mask).tolist() == [0, 0, 0, 0]
    mask[5, 3] = True
    assert mask_to_box(mask).tolist() == [3, 5, 4, 6]
    mask[7, 19] = True
    assert mask_to_box(mask).tolist() == [3, 5, 20, 8]


def test_polygons_outline_each_part_largest_first() -> None:
    mask = disk(100, 160, x=40, y=50, radius=30) | disk(100, 160, x=120, y=50, radius=10)
    mask[0, 0] = True  # a single pixel has no outline
    large, small = mask_to_polygons(mask)
    assert large.dtype == np.int32
    assert (large.min(axis=0).tolist(), large.max(axis=0).tolist()) == ([10, 20], [70, 80])
    assert (small.min(axis=0).tolist(), small.max(axis=0).tolist()) == ([110, 40], [130, 60])
    assert mask_to_polygons(np.zeros((5, 5), dtype=bool)) == []


# --- drawing -----------------------------------------------------------------------------------


def test_colours_differ() -> None:
    table = np.array(COLOURS, dtype=float)
    apart = np.linalg.norm(table[:, None] - table[None], axis=-1) + 1000 * np.eye(len(table))
    assert apart.min() > 50


def test_an_overlay_tints_the_mask_and_nothing_else() -> None:
    image = np.full((200, 300, 3), 90, dtype=np.uint8)
    before = image.copy()
    mask = disk(200, 300, x=150, y=100, radius=40)
    drawn = draw_overlay(image, masks=[mask])
    np.testing.assert_array_equal(image, before)
    far = ~disk(200, 300, x=150, y=100, radius=45)
    np.testing.assert_array_equal(drawn[far], image[far])
    tint = np.rint(0.55 * 90 + 0.45 * np.array(COLOURS[0]))
    assert drawn[100, 150].tolist() == tint.tolist()


def test_a_small_mask_stays_visible_inside_a_large_one() -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    small, large = (disk(200, 200, x=100, y=100, radius=r) for r in (20, 90))
    for masks in ([small, large], [large, small]):
        drawn = draw_overlay(image, masks=masks)
        assert drawn[100, 100].tolist() != drawn[100, 30].tolist()


def test_a_mask_keeps_its_own_colour() -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    mask = disk(200, 200, x=100, y=100, radius=50)
    drawn = draw_overlay(image, masks=[mask], colours=[3 + len(COLOURS)])
    assert drawn[100, 100].tolist() == np.rint(0.45 * np.array(COLOURS[3])).tolist()


def test_empty_masks_have_no_caption() -> None:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    drawn = draw_overlay(image, masks=[np.zeros((60, 80), dtype=bool)], captions=["ghost"])
    np.testing.assert_array_equal(drawn, image)


def test_captions_do_not_cover_each_other() -> None:
    image = np.zeros((300, 400, 3), dtype=np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    apart = [
        int((draw_captions(image, captions=[("dog", (200.0, 150.0), c)]) == c).all(axis=-1).sum())
        for c in colours
    ]
    together = draw_captions(image, captions=[("dog", (200.0, 150.0), c) for c in colours])
    assert [int((together == c).all(axis=-1).sum()) for c in colours] == apart


@pytest.mark.parametrize("text", ["", "two\nlines", "größe 犬 🐶", "long " * 2000, "\0"])
@pytest.mark.parametrize("size", [(2, 1), (10, 2000), (2000, 10), (120, 160)])
def test_any_text_on_any_image(text: str, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), dtype=np.uint8)
    drawn = draw_overlay(image, masks=[np.ones(size, dtype=bool)] * 3, captions=[text] * 3)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
