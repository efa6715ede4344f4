from __future__ import annotations

import numpy as np
import pytest

from samclip_sdk.results.overlay import COLOURS, draw_captions, draw_overlay
from tests.image.test_masks import disk


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
