"""Which thresholds everything-mode gets, on masks worked out by hand and of a fake model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samclip_sdk import SamClip
from tests.fake_source import fake_client, sample_image
from training.everything import Proposals, calibrate_everything, choose_everything, propose


def proposals(*masks: tuple[float, float, int | None]) -> Proposals:
    """Masks side by side: their predicted IoU, stability, and which of ten objects they show."""
    count = len(masks)
    left = 10 * np.arange(count, dtype=np.float32)
    boxes = np.stack([left, np.zeros(count), left + 5, np.full(count, 5)], axis=1)
    shows = np.zeros((count, 10), bool)
    for index, (_, _, shown) in enumerate(masks):
        if shown is not None:
            shows[index, shown] = True
    scores = np.array([mask[:2] for mask in masks], np.float32)
    return Proposals(boxes.astype(np.float32), scores[:, 0], scores[:, 1], shows)


def test_masks_that_show_objects_stay_and_others_go() -> None:
    """The tenth object is not worth the six other masks."""
    good = [(0.82, 0.91, shown) for shown in range(9)]
    found = proposals(*good, (0.2, 0.2, 9), *[(0.6, 0.96, None)] * 5, (0.9, 0.72, None))
    chosen = choose_everything([found])
    kept = found.keep(chosen["pred_iou_thresh"], chosen["stability_score_thresh"])
    assert sorted(kept.tolist()) == list(range(9))
    assert 0.6 <= chosen["pred_iou_thresh"] < 0.82
    assert 0.72 < chosen["stability_score_thresh"] < 0.91


def test_all_images_count_together() -> None:
    """One image alone would have masks of 0.35 stay; the other one's mistakes speak against."""
    one = proposals((0.95, 0.99, 0), (0.35, 0.99, 1))
    other = proposals((0.95, 0.99, 0), *[(0.35, 0.99, None)] * 60)
    alone, both = choose_everything([one]), choose_everything([one, other])
    assert alone == {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    assert both == {"pred_iou_thresh": 0.4, "stability_score_thresh": 0.0}


def test_two_masks_of_one_object_are_one_too_many() -> None:
    found = proposals((0.95, 0.99, 0), (0.65, 0.99, 0))
    assert len(found.keep(**choose_everything([found]))) == 1


def test_of_the_same_box_the_better_one_stays() -> None:
    found = proposals((0.9, 1, None), (0.95, 1, 0))
    found.boxes[1] = found.boxes[0]
    assert found.keep(0, 0).tolist() == [1]


def test_segment_anythings_own_stay_where_nothing_is_shown() -> None:
    assert choose_everything([proposals((0.9, 0.9, None))]) == {}
    assert choose_everything([]) == {}


def test_a_model_is_asked_for_all_its_masks(tmp_path: Path) -> None:
    model: SamClip = fake_client(tmp_path)[0]
    every = model.segment_everything(
        sample_image(),
        points_per_side=12,
        pred_iou_thresh=0,
        stability_score_thresh=0,
        box_nms_thresh=1,
    )
    objects = np.stack([every.masks[5], ~np.any(every.masks, axis=0)])
    found = propose(model, sample_image(), objects)
    assert len(found.boxes) == len(every) == len(found.shows)
    assert found.shows[5, 0]
    assert not found.shows[:, 1].any()
    told: list[int] = []
    chosen = calibrate_everything(
        model,
        [(sample_image(), objects), (sample_image(), objects[:0])],
        count=2,
        on_progress=lambda _, done, total: told.append(done),
    )
    assert set(chosen) == {"pred_iou_thresh", "stability_score_thresh"}
    assert told == [0, 1, 2]
