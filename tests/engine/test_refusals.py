"""What the verbs refuse, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import PromptError, SamClip, SamClipError, TextError
from tests.fake_source import fake_client, sample_image
from tests.refusals import refused

Row = tuple[str, dict[str, Any], type[SamClipError], str]
NAN, INF = float("nan"), float("inf")
BOX: dict[str, Any] = {"boxes": [25, 12, 75, 38]}
REGION = np.eye(256, dtype=np.float32)[0]
OF_LABELS: list[Row] = [
    (verb, {"labels": labels}, TextError, word)
    for verb in ("classify", "segment_text", "segment_instances", "segment_everything", "stream")
    for labels, word in (([], "label"), (["dog", "Dog "], "'Dog '"), (["dog", 7], "int"))
]
OF_OPTIONS: list[Row] = [
    (verb, asked, PromptError, word)
    for verb, asked, word in (
        ("segment", {"points": [[100, 20]]}, "(100, 20)"),
        ("segment", {"boxes": [200, 0, 300, 50]}, "[200, 0, 300, 50]"),
        ("segment", BOX | {"multimask_output": "no"}, "multimask_output is 'no'"),
        ("segment", BOX | {"mask_threshold": NAN}, "mask_threshold is nan"),
        ("segment_text", {"threshold": 1.5}, "threshold is 1.5"),
        ("segment_text", {"threshold": NAN}, "threshold is nan"),
        ("segment_text", {"threshold": "0.5"}, "threshold is '0.5'"),
        ("segment_text", {"mask_threshold": INF}, "mask_threshold is inf"),
        ("segment_text", {"mask_threshold": 10**400}, "mask_threshold is inf"),
        ("segment_text", {"mask_threshold": 1e39}, "mask_threshold is 1e+39"),
        ("segment_text", {"points_per_class": 0}, "points_per_class is 0"),
        ("segment_text", {"points_per_class": 2.5}, "points_per_class is 2.5"),
        ("segment_text", {"refine": "no"}, "refine is 'no'"),
        ("segment_text", {"refine": NotImplemented}, "refine is NotImplemented"),
        ("segment_text", {"return_soft_masks": 1}, "return_soft_masks is 1"),
        ("segment_text", {"return_soft_masks": True, "tiles": (2, 2)}, "return_soft_masks"),
        ("segment_text", {"tiles": (0, 2)}, "tiles is 0"),
        ("segment_text", {"tiles": (2, 2), "tile_overlap": 0.9}, "tile_overlap is 0.9"),
        ("segment_text", {"tile_overlap": 0.2}, "tile_overlap is 0.2"),
        ("segment_text", {"tiles": 100}, "100 x 50"),
        ("segment_everything", {"tiles": (9, 9)}, "15 x 8"),
        ("segment_instances", {"tiles": (9, 9)}, "15 x 8"),
        ("segment_instances", {"max_instances": 0}, "max_instances is 0"),
        ("segment_instances", {"max_instances": 2.0}, "max_instances is 2.0"),
        ("segment_instances", {"max_instances": True}, "max_instances is True"),
        ("segment_instances", {"max_instances": "5"}, "max_instances is '5'"),
        ("segment_instances", {"points_per_class": 0}, "points_per_class is 0"),
        ("segment_instances", {"threshold": 2}, "threshold is 2"),
        ("segment_everything", {"points_per_side": 0}, "points_per_side is 0"),
        ("segment_everything", {"points_per_side": 1025}, "points_per_side is 1025"),
        ("segment_everything", {"points_per_side": 2.5}, "points_per_side is 2.5"),
        ("segment_everything", {"points_per_side": True}, "points_per_side is True"),
        ("segment_everything", {"pred_iou_thresh": 1.5}, "pred_iou_thresh is 1.5"),
        ("segment_everything", {"stability_score_thresh": -1}, "stability_score_thresh is -1"),
        ("segment_everything", {"box_nms_thresh": NAN}, "box_nms_thresh is nan"),
        ("segment_everything", {"box_nms_thresh": "much"}, "box_nms_thresh is 'much'"),
        ("segment_everything", {"stability_score_offset": -0.1}, "stability_score_offset is -0.1"),
        ("stream", {"encode_every": 0}, "encode_every is 0"),
        ("stream", {"encode_every": 1.5}, "encode_every is 1.5"),
        ("stream", {"max_instances": 0}, "max_instances is 0"),
        ("stream", {"threshold": 2}, "threshold is 2"),
        ("embed_region", {}, "nothing"),
        ("embed_region", {"box": [1, 1, 9, 9], "point": [1, 1]}, "box and point"),
        ("embed_region", {"box": [1, 1, 9]}, "[3]"),
        ("embed_region", {"box": [[1, 1, 9, 9]]}, "[1, 4]"),
        ("embed_region", {"box": [9, 1, 1, 9]}, "[9, 1, 1, 9]"),
        ("embed_region", {"box": [200, 1, 209, 9]}, "[200, 1, 209, 9]"),
        ("embed_region", {"point": [1, 1, 1]}, "points"),
        ("embed_region", {"point": [[1, 1]]}, "[1, 2]"),
        ("embed_region", {"point": [100, 1]}, "(100, 1)"),
        ("embed_region", {"mask": np.ones((50, 100), np.uint8)}, "uint8 [50, 100]"),
        ("embed_region", {"mask": np.ones((1, 50, 100), bool)}, "bool [1, 50, 100]"),
        ("embed_region", {"mask": np.zeros((50, 100), bool)}, "empty"),
        ("embed_region", {"mask": np.ones((100, 50), bool)}, "[100, 50]"),
        ("embed_region", {"mask": [[1, 2], [3]]}, "mask"),
        ("learn_label", {"positives": []}, "positive"),
        ("learn_label", {"positives": np.ones(256)}, "length 16"),
        ("learn_label", {"negatives": np.ones(3)}, "[3]"),
        ("learn_label", {"score": 0.5}, "score is 0.5"),
        ("learn_label", {"score": "high"}, "score is 'high'"),
    )
]
OTHERS: list[Row] = [
    ("segment_text", {"labels": [f"noun {index}" for index in range(32_768)]}, TextError, "32768"),
    ("learn_label", {"label": " "}, TextError, "label 0"),
    ("learn_label", {"label": ["pet"]}, TextError, "list"),
]
GIVEN: dict[str, dict[str, Any]] = {
    "segment_text": {"labels": "dog"},
    "segment_instances": {"labels": "dog"},
    "stream": {"labels": "dog"},
    "learn_label": {"label": "pet", "positives": REGION},
}
"""What a verb needs besides what is wrong."""


@pytest.mark.parametrize(("verb", "asked", "error", "word"), [*OF_LABELS, *OF_OPTIONS, *OTHERS])
def test_what_cannot_be_is_refused_before_any_work(
    tmp_path: Path, verb: str, asked: dict[str, Any], error: type[SamClipError], word: str
) -> None:
    model, source = fake_client(tmp_path)
    image = {"stream": ("there is no such film.mp4",), "learn_label": ()}.get(
        verb, (sample_image(),)
    )
    given = GIVEN.get(verb, {}) | asked
    refused(lambda: getattr(model, verb)(*image, **given), error, word)
    assert not source.runs("image_encoder@64")


@pytest.mark.parametrize("size", [(10, 20_000), (20_000, 10), (1, 2)])
def test_extreme_shapes_are_answered(tmp_path: Path, size: tuple[int, int]) -> None:
    model: SamClip = fake_client(tmp_path)[0]
    image = model.encode_image(sample_image(*size))
    labels = ["zebra", "dog", "cat"]
    assert model.classify(image, "dog").probs.tolist() == [1]
    assert model.segment(image, points=[[0, 0]]).masks.shape == (3, *size)
    assert model.segment_text(image, labels).class_map.shape == size
    assert model.segment_instances(image, labels, threshold=0).masks.shape[1:] == size
    every = model.segment_everything(image, labels, points_per_side=2, pred_iou_thresh=0)
    assert every.masks.shape[1:] == size
