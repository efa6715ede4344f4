"""What a view teaches the proposal head, on cases made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samclip_sdk.image.frame import Frame
from samclip_sdk.modeling.proposal_head import anchor_centres
from tests.training.photograph_files import annotation, encode, rectangle, sample_image, write_set
from training.data_config import JointPhotographs
from training.real.joint_batches import JointBatches
from training.real.photograph_views import part_view
from training.real.photographs import Photographs
from training.real.proposal_targets import (
    UNLABELLED,
    ProposalTargets,
    assign,
    proposal_targets,
)
from training.real.segments import NAMELESS, Segment

SIZE = 384
FRAME = Frame.fit(288, 384, resolution=SIZE)
CENTRES = anchor_centres(SIZE // 16, SIZE // 16).numpy()
SMALL, MIDDLE, LARGE = slice(0, 4), slice(4, 5), slice(5, 6)


def segment(left: int, top: int, right: int, bottom: int, **more: Any) -> Segment:
    area = np.zeros((SIZE, SIZE), bool)
    area[top:bottom, left:right] = True
    facts: dict[str, Any] = {
        "concept": 0,
        "area": area,
        "masked": True,
        "single": True,
        "exhaustive": True,
        "partial": False,
        "role": "thing",
        "box": np.array([left, top, right, bottom], np.float32),
        "share": 1.0,
    }
    return Segment(**facts | more)


def targets(*segments: Segment, unlabelled: float = 1.0) -> ProposalTargets:
    found = proposal_targets(segments, FRAME, unlabelled=unlabelled)
    assert found.assigned.max(initial=-1) < len(found.boxes)
    return found


def anchors_of(found: ProposalTargets, thing: int, level: slice) -> np.ndarray:
    """The middles x, y of the places of a level that propose a thing: [n,2]."""
    return CENTRES[:, level][:, found.assigned[level] == thing].T


def test_two_things_that_touch_have_places_of_their_own() -> None:
    found = targets(segment(40, 40, 80, 80), segment(80, 40, 120, 80))
    assert found.boxes.tolist() == [[40, 40, 80, 80], [80, 40, 120, 80]]
    for thing, box in enumerate(found.boxes):
        anchors = anchors_of(found, thing, SMALL)
        assert len(anchors) == 9
        assert ((anchors > box[:2]) & (anchors < box[2:])).all()
    assert not (found.assigned[MIDDLE] >= 0).any()


def test_the_smaller_of_two_in_one_another_wins() -> None:
    """Of boxes without masks with one middle, each has places of its own."""
    outer, inner = (
        segment(100, 100, 180, 180, masked=False),
        segment(120, 120, 160, 160, masked=False),
    )
    found = targets(outer, inner)
    small, large = anchors_of(found, 1, SMALL), anchors_of(found, 0, SMALL)
    assert len(small) == len(large) == 9
    middle = np.array([140, 140])
    assert np.abs(small - middle).max() < np.abs(large - middle).max()


def test_places_are_on_the_things_own_mask() -> None:
    area = np.zeros((SIZE, SIZE), bool)
    area[100:180, 100:180] = True
    area[112:168, 112:168] = False  # a ring
    ring = segment(100, 100, 180, 180, area=area)
    found = targets(ring)
    for level in (SMALL, MIDDLE):
        anchors = anchors_of(found, 0, level).astype(int)
        assert len(anchors)
        if level is SMALL:
            assert area[anchors[:, 1], anchors[:, 0]].all()
    inside = CENTRES[:, SMALL][:, (found.background[SMALL] == 0)]
    assert (inside[1] > 288).all(), "only the padding is out of play"


def test_a_thing_as_large_as_the_image_is_a_large_one() -> None:
    found = targets(segment(0, 0, 384, 288), unlabelled=UNLABELLED)
    assert not (found.assigned[:5] >= 0).any()
    anchors = anchors_of(found, 0, LARGE)
    assert len(anchors) == 9
    assert np.abs(anchors - (192, 144)).max() < 32
    seen = CENTRES[1] < 288
    assert (found.background[LARGE][seen[LARGE]] == 1).all(), "no other thing has its size there"
    assert (found.background[SMALL][seen[SMALL]] == np.float32(UNLABELLED)).all()


def test_sizes_overlap() -> None:
    found = targets(segment(100, 100, 170, 150))
    assert len(anchors_of(found, 0, SMALL)) == 9
    assert len(anchors_of(found, 0, MIDDLE))


@pytest.mark.parametrize("corner", [(100, 100), (103, 97), (0, 0)])
def test_the_smallest_thing_has_a_place(corner: tuple[int, int]) -> None:
    left, top = corner
    found = targets(segment(left, top, left + 8, top + 3, masked=False))
    assert len(found.boxes) == 1
    assert len(anchors_of(found, 0, SMALL)) >= 1


def test_nothing_is_nothing_but_for_the_padding() -> None:
    found = targets(unlabelled=0.5)
    assert found.boxes.shape == (0, 4)
    assert (found.assigned == -1).all()
    np.testing.assert_array_equal(found.background, np.where(CENTRES[1] < 288, 0.5, 0))


def test_stuff_is_no_thing_in_any_set() -> None:
    """Not even where nobody labels things; what lies on it is one."""
    sky = segment(0, 0, 384, 100, role="stuff", single=False)
    found = targets(sky, segment(200, 40, 240, 80), unlabelled=UNLABELLED)
    assert len(found.boxes) == 1
    assert (found.background[CENTRES[1] < 100] == 1).all()
    assert len(anchors_of(found, 0, SMALL)) == 9
    below = (CENTRES[1] > 100) & (CENTRES[1] < 288)
    assert (found.background[below] == np.float32(UNLABELLED)).all()


@pytest.mark.parametrize(
    "unknown",
    [{"role": "unclear"}, {"share": 0.3}],
    ids=["a crowd", "most of it is cut off"],
)
def test_what_is_not_known_is_left_out(unknown: dict[str, Any]) -> None:
    found = targets(segment(0, 0, 160, 160, **unknown), segment(40, 40, 100, 100))
    assert found.boxes.tolist() == [[40, 40, 100, 100]]
    crowd = (CENTRES[0] < 160) & (CENTRES[1] < 160)
    own = ((CENTRES >= 40) & (CENTRES < 100)).all(axis=0)
    own[5:] = False
    assert not found.background[crowd & ~own].any()
    assert (found.background[own] == 1).all()
    seen = CENTRES[1] < 288
    assert (found.background[seen & ~crowd] == 1).all()


def test_an_image_of_regions_without_names_teaches_nothing() -> None:
    region = segment(0, 0, 50, 50, concept=NAMELESS, role="unclear")
    found = targets(region, segment(100, 100, 150, 150))
    assert not len(found.boxes)
    assert not found.background.any()


def test_no_places_without_things() -> None:
    assert (assign(np.zeros((0, 4), np.float32), [], CENTRES) == -1).all()


def batches(root: Path, *, augment: bool = False, **more: Any) -> JointBatches:
    settings: dict[str, Any] = {"resolution": 128, "late_resolution": 192, "batch": 1}
    settings |= {"prompts": 3, "labels": 2}
    config = JointPhotographs(source="photographs", root=root, **settings | more)
    photographs = Photographs(config, split="train")
    return JointBatches(photographs, config, seed=0, augment=augment, late_from=5)


LEFT, RIGHT = rectangle(0, 0, 40, 96), rectangle(64, 16, 128, 48)


def test_batches_hold_the_boxes_of_each_image(tmp_path: Path) -> None:
    """Those with a mask and those without, at any size."""
    boxed = annotation(1, RIGHT)
    del boxed["segmentation"]
    write_set(tmp_path / "toys", [(sample_image(), [annotation(2, LEFT), boxed], {})])
    dataset = batches(tmp_path, batch=2)
    for index, scale in ((0, 1.0), (5, 1.5)):
        batch = dataset[index]
        assert batch["box_owners"].tolist() == [0, 0, 1, 1]
        wanted = torch.tensor([[0.0, 0, 40, 96], [64, 16, 128, 48]])
        found = batch["boxes"].view(2, 2, 4)
        for own in found:
            own = own[own[:, 0].argsort()]
            torch.testing.assert_close(own, scale * wanted, atol=0.6, rtol=0)
        side = round(8 * scale)
        assert batch["assigned"].shape == batch["background"].shape == (2, 6, side, side)
        for row in range(2):
            owners = batch["box_owners"][batch["assigned"][row][batch["assigned"][row] >= 0]]
            assert owners.unique().tolist() == [row]


def test_a_network_that_marks_one_thing_in_a_kind_is_believed(tmp_path: Path) -> None:
    """`single` beside `semantic`; without it, the mask may be of several."""
    told = [annotation(1, RIGHT, semantic=True, single=True), annotation(2, LEFT, semantic=True)]
    write_set(tmp_path / "toys", [(sample_image(), told, {})])
    batch = batches(tmp_path)[0]
    assert batch["boxes"].tolist() == [[64, 16, 128, 48]]
    assert not len(batch["owners"]), "but no prompt asks for what a network drew"
    assert not batch["background"][0, :, :6, :2].any()


def test_grass_is_no_thing(tmp_path: Path) -> None:
    write_set(
        tmp_path / "toys",
        [(sample_image(), [annotation(1, LEFT), annotation(2, RIGHT, iscrowd=1)], {})],
        categories=[{"name": "grass", "isthing": 0}, "sheep"],
    )
    batch = batches(tmp_path)[0]
    assert not len(batch["boxes"])
    assert (batch["background"][0, :, :6, :2] == 1).all()
    assert not batch["background"][0, :, 1:3, 4:].any()
    assert (batch["assigned"] == -1).all()


@pytest.mark.parametrize("kinds", [2, 40, 90])
def test_a_complete_set_says_as_much_as_it_has_kinds(tmp_path: Path, kinds: int) -> None:
    names = [f"thing {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(kinds)]
    write_set(
        tmp_path / "toys", [(sample_image(), [], {})], categories=names, info={"complete": True}
    )
    batch = batches(tmp_path)[0]
    wanted = {2: 0.1, 40: 0.5, 90: 1.0}[kinds]
    assert batch["background"][0, :, :6].unique().tolist() == pytest.approx([wanted])


def test_crops_flips_and_pastes_keep_boxes_where_the_things_are(tmp_path: Path) -> None:
    pixels = np.full((96, 128, 3), 120, np.uint8)
    pixels[20:60, 30:90] = (250, 0, 0)
    red = rectangle(30, 20, 90, 60)
    write_set(tmp_path / "toys", [(encode(pixels), [annotation(1, red)], {})] * 2)
    dataset = batches(tmp_path, augment=True, paste=0.5, batch=4)
    seen = 0
    for index in range(4):
        batch = dataset[index]
        colours = batch["images"].float()
        redness = (colours[:, 0] - colours[:, 1] > 60).numpy()
        for owner, box in zip(batch["box_owners"].tolist(), batch["boxes"], strict=True):
            left, top, right, bottom = box.round().int().tolist()
            inner = redness[owner, top + 2 : bottom - 2, left + 2 : right - 2]
            assert inner.mean() > 0.3
            seen += 1
        for owner in range(4):
            covered = np.zeros_like(redness[owner])
            for box in batch["boxes"][batch["box_owners"] == owner].round().int().tolist():
                covered[max(box[1] - 2, 0) : box[3] + 2, max(box[0] - 2, 0) : box[2] + 2] = True
            if covered.any():
                assert (redness[owner] & ~covered).mean() < 0.02
    assert seen > 12


def test_a_box_in_a_flipped_part() -> None:
    view = part_view((20, 10, 120, 90), resolution=200, flipped=True)
    box = np.array([30.0, 0, 70, 50], np.float32)
    assert view.box_in_sight(box).tolist() == [100, 0, 180, 80]
    assert view.share(box) == pytest.approx(0.8)
