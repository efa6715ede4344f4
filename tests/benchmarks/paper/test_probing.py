"""Linear probes: their fit, their IoU by hand, and what they are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

from benchmarks.paper.probe_data import Example, ProbeData, Scene
from benchmarks.paper.probing import (
    Backbone,
    class_ious,
    fit,
    last_map,
    train_classifier,
    train_segmenter,
)
from training.teachers.pretrained import OpenClip

COLOURS = ((220, 0, 0), (0, 220, 0), (0, 0, 220))


def clusters(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters far apart, off centre and of uneven scale."""
    labels = np.arange(count) % 3
    centres = np.array([[0.0, 300.0], [4.0, -300.0], [-4.0, 0.0]])
    noise = np.random.default_rng(seed).standard_normal((count, 2)) * np.array([0.3, 20.0])
    return centres[labels] + noise + 50, labels


def test_classes_without_an_example_are_never_the_answer() -> None:
    features, labels = clusters(60, seed=0)
    for known in (3, 2):
        own = labels < known
        logits = fit(features[own], np.eye(4)[labels[own]], l2=1e-4)(features)
        assert logits.shape == (60, 4)
        assert (logits.argmax(axis=1)[own] == labels[own]).all()
        assert set(logits.argmax(axis=1)) == set(range(known))
    with pytest.raises(ValueError, match="examples of two classes or more"):
        fit(features[labels < 1], np.eye(3)[labels[labels < 1]], l2=1e-4)


def scene_of(class_map: np.ndarray, *unsure: int) -> Scene:
    return Scene(np.zeros((*class_map.shape, 3), np.uint8), class_map, np.array(unsure, np.int64))


def test_ious_by_hand() -> None:
    """Noun 1 is answered for the right half of the background.

    But if the photo may show it, then it is no answer, and the next best one counts.
    """
    named = np.full((4, 4), 2)
    named[:, :2] = 0
    answered = named.copy()
    answered[:, 3] = 1
    itself: Any = np.copy
    right, wrong = (np.eye(3)[each][None] for each in (named, answered))
    scenes = [scene_of(named)]
    assert class_ious(itself, right, scenes=scenes, classes=3) == [1, None, 1]
    assert class_ious(itself, wrong, scenes=scenes, classes=3) == [1, 0, 0.5]
    shown = [scene_of(named, 1)]
    assert class_ious(itself, wrong + 0.5 * right, scenes=shown, classes=3) == [1, None, 1]


def test_a_backbone_that_sees_colours_is_probed_without_a_mistake() -> None:
    scenes, images = [], []
    for label, colour in enumerate(COLOURS):
        named = np.full((64, 64), 3)
        named[16:48, 16:48] = label
        image = np.full((64, 64, 3), 236, np.uint8)
        image[named == label] = colour
        scenes.append(Scene(image, named, np.empty(0, np.int64)))
        images.append(Example(lambda image=image: image, label))
    backbone = Backbone(
        "student", lambda x: F.avg_pool2d(x.float(), 8), classification_px=64, segmentation_px=64
    )
    data = ProbeData([images] * 3, ("red", "green", "blue"), [scenes] * 3, classes=4)
    scores = train_classifier(backbone, data)(backbone.pooled(each.read() for each in images))
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
    segmenter = train_segmenter(backbone, data, seed=0)
    maps = backbone.patches(scene.image for scene in scenes)
    assert maps.shape == (3, 8, 8, 3)
    ious = class_ious(segmenter, maps, scenes=scenes, classes=4)
    assert min(each or 0 for each in ious) > 0.75  # what is lost is lost in upscaling


def test_the_last_map_of_an_openclip_model() -> None:
    """What vit_b's CLIP teacher is probed by."""
    config = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.CLIP(embed_dim=8, vision_cfg=config, text_cfg=text).eval()
    seen = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
    model.visual.preprocess_cfg = seen
    with torch.inference_mode():
        found = last_map(OpenClip(model), torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert found.shape == (2, 32, 2, 2)
