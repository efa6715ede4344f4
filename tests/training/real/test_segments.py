"""Things are cut out without their background, and pasted where others stay in sight."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samclip_sdk.image.frame import Frame
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from training.real.photograph import Photograph
from training.real.photograph_sets import PhotographSet
from training.real.segments import MIN_VISIBLE, cut_out, paste

THING, BORDER = rectangle(20, 20, 60, 50), rectangle(0, 60, 30, 80)


def photograph(folder: Path) -> Photograph:
    pixels = np.full((96, 128, 3), (0, 200, 0), np.uint8)
    pixels[THING] = (250, 0, 0)
    shown = [annotation(1, THING), annotation(1, BORDER), annotation(2, THING)]
    categories = ["cat", {"name": "sky", "isthing": 0}]
    found = PhotographSet(write_set(folder, [(encode(pixels), shown, {})], categories=categories))
    return Photograph(found, 0, np.array([0, 1]))


def test_a_thing_is_cut_out_without_its_background(tmp_path: Path) -> None:
    one = photograph(tmp_path / "toys")
    thing, border, sky = (one.found.table[number] for number in range(3))
    cutout = cut_out(one, thing, resolution=64)
    assert cutout is not None
    assert cutout.shape == (49, 64, 4)  # the box of 40 x 30, and a pixel around it
    inside = cutout[..., 3] == 255
    assert inside.mean() > 0.7
    assert (np.abs(cutout[inside][:, :3].astype(int) - (250, 0, 0)) < 40).all()
    assert not cutout[cutout[..., 3] == 0].any()
    assert (cutout[..., :3] <= cutout[..., 3:]).all()
    assert cut_out(one, border, resolution=64) is None
    assert cut_out(one, sky, resolution=64) is None


def test_what_is_pasted_leaves_enough_of_the_others() -> None:
    frame = Frame.fit(96, 128, resolution=128)
    cutout = np.zeros((40, 60, 4), np.uint8)
    cutout[4:-4, 4:-4] = (200, 0, 0, 255)
    other = np.zeros((128, 128), bool)
    other[20:60, 20:60] = True
    pasted = 0
    for seed in range(40):
        image = np.full((128, 128, 3), 90, np.uint8)
        own = paste(image, [other], cutout, np.random.default_rng(seed), frame=frame, min_px=300)
        assert (image[96:] == 90).all()
        if own is None:
            assert (image == 90).all()
            continue
        pasted += 1
        rest = other & ~own
        assert own.sum() >= 300
        assert not own[96:].any()
        assert rest.sum() >= MIN_VISIBLE * other.sum()
        assert (image[own][:, 0] > image[own][:, 1]).mean() > 0.9
    assert pasted >= 25
