"""Everything in an image, against segment-anything's SamAutomaticMaskGenerator on one model.

Of a square image nothing is padded, and the two see the same. A decoder of random weights draws
masks of the whole image, and predicts any IoU: it is scaled and shifted so that masks differ in
size, in stability, and in what is predicted of them, which lies between 0 and 1.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from samclip_sdk import NamedMasks, SamClip
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.parity.reference import build_clip, build_sam, convert
from tests.parity.test_end_to_end_sam import CONFIG, sample_image

SQUARE = (300, 300)
POINTS_PER_SIDE = 4
BOUND = 1e-4
RESIDUE_BOUND = 1e-2


@pytest.fixture(scope="module")
def sam() -> Sam:
    found = build_sam(CONFIG, seed=2)
    decoder = found.mask_decoder
    with torch.no_grad():
        for each in decoder.output_hypernetworks_mlps:
            last = each.layers[-1]
            last.bias -= last.weight.norm(dim=1).mean() / 1.5
            last.weight *= 20
            last.bias *= 20
        last = decoder.iou_prediction_head.layers[-1]
        last.weight *= 0.1
        last.bias.copy_(0.1 * last.bias + 0.5)
    return found


@pytest.fixture(scope="module")
def model(sam: Sam, tokenizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    folder = tmp_path_factory.mktemp("everything")
    converted = convert(CONFIG, sam=sam, clip=build_clip(CONFIG, seed=3))
    save_checkpoint(converted, folder, provenance={"random_weights": True})
    shutil.copy(tokenizer_path, folder / "tokenizer.json")
    return SamClip.load("torch", model=folder)


def ask_sam(sam: Sam, image: NDArray[np.uint8], **asked: Any) -> list[dict[str, Any]]:
    generator = SamAutomaticMaskGenerator(sam, points_per_side=POINTS_PER_SIDE, **asked)
    found: list[dict[str, Any]] = generator.generate(image)
    return found


def differences(found: NamedMasks, expected: list[dict[str, Any]]) -> dict[str, float]:
    """The largest differences, row by row, of what is told about the masks."""
    boxes = np.array([each["bbox"] for each in expected], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2] + 1  # to XYXY; theirs end at the last pixel
    theirs = np.stack([each["segmentation"] for each in expected])
    either = (found.masks | theirs).sum(axis=(1, 2))
    return {
        "mask": float((1 - (found.masks & theirs).sum(axis=(1, 2)) / either).max()),
        "box": float(np.abs(found.boxes - boxes).max()),
        "score": float(np.abs(found.scores - _column(expected, "predicted_iou")).max()),
        "stability": float(
            np.abs(found.stability_scores - _column(expected, "stability_score")).max()
        ),
        "area": float(np.abs(found.areas / _column(expected, "area") - 1).max()),
    }


def _column(expected: list[dict[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([each[name] for each in expected], dtype=np.float64)


# Each of the filters takes some away, and leaves some.
ASKED: list[tuple[int, dict[str, float]]] = [
    (7, {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 0.9}),
    (31, {"pred_iou_thresh": 0.6, "stability_score_thresh": 0, "box_nms_thresh": 1}),
    (
        16,
        {
            "pred_iou_thresh": 0.3,
            "stability_score_thresh": 0.3,
            "stability_score_offset": 2.0,
            "box_nms_thresh": 1,
        },
    ),
]


@pytest.mark.parametrize(("count", "asked"), ASKED)
def test_masks_and_what_is_told_about_them(
    model: SamClip, sam: Sam, count: int, asked: dict[str, float]
) -> None:
    image = sample_image(*SQUARE)
    expected = ask_sam(sam, image, **asked)
    found = model.segment_everything(image, points_per_side=POINTS_PER_SIDE, **asked)
    assert len(found) == len(expected) == count
    for name, difference in differences(found, expected).items():
        assert difference < BOUND, name


def test_an_image_with_padding(model: SamClip, sam: Sam) -> None:
    """Within the residue of another padding; see `test_end_to_end_sam`."""
    image = sample_image(200, 300)
    asked = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.3, "box_nms_thresh": 0.9}
    expected = ask_sam(sam, image, **asked)
    found = model.segment_everything(image, points_per_side=POINTS_PER_SIDE, **asked)
    assert len(found) == len(expected) > 0
    for name, difference in differences(found, expected).items():
        assert difference < RESIDUE_BOUND, name
