"""A SAM that segments by colour and a CLIP that names colours: the class map is known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from torch.nn import functional as F

from benchmarks.two_models import GRID, Thresholds, TwoModels, name_segments
from samclip_sdk.image.masks import mask_to_box
from training.asked_images import AskedImage

RED, GREEN, BLUE, GREY = (220, 0, 0), (0, 220, 0), (0, 0, 220), (90, 90, 90)
COLOURS = np.array([RED, GREEN, BLUE, GREY], np.float32)
CLASSES = COLOURS / np.linalg.norm(COLOURS, axis=1, keepdims=True)
SAMS_OWN = Thresholds()
BACKGROUND = -1


class ColourSam:
    """Of each colour under the grid a stable mask; an unstable one and all, of little trust."""

    def __init__(self, trust: float = 1.0) -> None:
        self.trust, self.encoded = trust, 0

    def encode_image(self, image: np.ndarray) -> Any:
        self.encoded += 1
        return SimpleNamespace(pixels=image)

    def segment_everything(
        self, image: Any, *, pred_iou_thresh: float, stability_score_thresh: float, **options: Any
    ) -> Any:
        pixels = (image if isinstance(image, SimpleNamespace) else self.encode_image(image)).pixels
        assert options == GRID
        colours = np.unique(pixels.reshape(-1, 3), axis=0)
        own = [(pixels == colour).all(axis=-1) for colour in colours]
        found = [(mask, 0.95, 1.0) for mask in own] + [(mask, 0.95, 0.1) for mask in own]
        found += [(np.ones(pixels.shape[:2], bool), 0.2, 1.0)]
        masks = [
            (mask, self.trust * iou)
            for mask, iou, stability in found
            if self.trust * iou > pred_iou_thresh and stability >= stability_score_thresh
        ]
        return SimpleNamespace(
            masks=np.array([mask for mask, _ in masks], bool).reshape(-1, *pixels.shape[:2]),
            predicted_ious=np.array([iou for _, iou in masks]),
            boxes=np.array([mask_to_box(mask) for mask, _ in masks], np.float32).reshape(-1, 4),
        )


class ColourClip:
    resolution = 8
    embed_dim = 3

    def __init__(self) -> None:
        self.embedded = 0

    def embed_images(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, 8, 8)
        self.embedded += len(images)
        return F.normalize(images.flatten(2).median(dim=2).values, dim=1)


@pytest.fixture
def image() -> np.ndarray:
    """Grey, a red square at the top left, a green stripe below; 4 px cells."""
    image = np.full((32, 32, 3), GREY, np.uint8)
    image[:16, :16] = RED
    image[20:, :] = GREEN
    return image


def paint(segments: Any, classes: np.ndarray, *, labels: int) -> np.ndarray:
    """The masks of labels as a class map."""
    masks = name_segments(*segments[:2], classes, labels=labels)
    assert masks.sum(axis=0).max() <= 1
    return np.where(masks.any(axis=0), masks.argmax(axis=0), BACKGROUND)


NAMES = ("red", "green", "blue")


def asked_of(image: np.ndarray) -> AskedImage:
    masks = np.stack([(image == colour).all(axis=-1) for colour in (RED, GREEN)])
    return AskedImage(image, present=("red", "green"), masks=masks, absent=("blue",))


def classes_of(names: Sequence[str]) -> np.ndarray:
    """Names for nothing are grey's."""
    return CLASSES[[NAMES.index(name) if name in NAMES else 3 for name in names]]


def two_models(sam: ColourSam, clip: ColourClip, *tuning: AskedImage) -> TwoModels:
    teachers: Any = SimpleNamespace(sam=sam, clip=clip, classes=classes_of)
    return TwoModels(teachers, tuning)


def test_segments_are_found_once_each_and_named(image: np.ndarray) -> None:
    sam, clip = ColourSam(), ColourClip()
    segments = two_models(sam, clip).look(image, SAMS_OWN)
    assert (sam.encoded, clip.embedded, len(segments.masks)) == (1, 3, 3)
    painted = paint(segments, CLASSES, labels=4)
    assert (painted[:16, :16] == 0).all()
    assert (painted[20:] == 1).all()
    assert set(np.unique(painted)) == {0, 1, 3}
    # As a name for the background, grey paints nothing.
    assert set(np.unique(paint(segments, CLASSES, labels=3))) == {0, 1, BACKGROUND}
    nothing = two_models(sam, clip).look(image, SAMS_OWN._replace(predicted_iou=0.99))
    assert (clip.embedded, nothing.embeddings.shape) == (3, (0, 3))
    assert (paint(nothing, CLASSES, labels=4) == BACKGROUND).all()


def test_both_ways_of_asking_two_models(image: np.ndarray) -> None:
    two = two_models(ColourSam(), ColourClip())
    (one, forced, dear, _), (other, free, cheap, _) = two.ask(asked_of(image))
    assert (one, other) == ("two_models", "two_models_or_nothing")
    assert dear == cheap == 3
    assert forced.any(axis=0).all()  # every segment gets a label
    assert not free[:, 3:13, 20:].any()
    assert free[0, 3:13, 3:13].all()
    assert not free[2].any()


def test_small_segments_are_painted_over_large_ones() -> None:
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2, :2] = masks[1] = masks[2, :3] = True
    segments = (masks, np.eye(3, dtype=np.float32))
    expected = [[0, 0, 2, 2], [0, 0, 2, 2], [2, 2, 2, 2], [1, 1, 1, 1]]
    painted = paint(segments, np.eye(3, dtype=np.float32), labels=3)
    assert painted.tolist() == expected
    apart = name_segments(*segments, np.eye(3, dtype=np.float32), labels=3)
    assert [int(mask.sum()) for mask in apart] == [4, 4, 8]
    # The last class stands for the background: it takes its place from what lies below.
    free = paint(segments, np.eye(3, dtype=np.float32), labels=2)
    assert free.tolist() == np.where(np.array(expected) == 2, BACKGROUND, expected).tolist()


@pytest.mark.parametrize(("trust", "minimum"), [(1.0, 0.2), (0.6, 0.12)])
def test_thresholds_are_those_that_answer_best(
    image: np.ndarray, trust: float, minimum: float
) -> None:
    """SAM's own keep the right masks here; a SAM that trusts itself less needs others."""
    sam, clip = ColourSam(trust), ColourClip()
    two = two_models(sam, clip, asked_of(image))
    assert clip.embedded == 3  # each box once, whatever the number of thresholds
    assert minimum < two.thresholds.predicted_iou <= 0.88
    assert len(two.look(image, two.thresholds).masks) == 3
    assert sam.encoded == 2  # once to tune, whatever the number of thresholds
