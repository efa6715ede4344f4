from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.paper.inputs import Inputs, ProbeData
from benchmarks.paper.probing import (
    Backbone,
    LinearProbe,
    class_ious,
    class_map,
    fit,
    fit_best,
    label_shares,
    measure_probing,
    train_classifier,
    train_segmenter,
)
from benchmarks.quality.drawings import Drawings, subset
from benchmarks.quality.record import HELDOUT, Settings
from training.composed.corpus import Corpus
from training.composed.scenes import Scene

COLOURS = ((220, 0, 0), (0, 220, 0), (0, 0, 220))


def clusters(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clusters far apart, off centre and of uneven scale."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.tensor([[0.0, 300.0], [4.0, -300.0], [-4.0, 0.0]])
    noise = torch.randn(count, 2, generator=generator) * torch.tensor([0.3, 20.0])
    return centres[labels] + noise + 50, labels


def test_a_probe_of_separable_features_is_always_right() -> None:
    features, labels = clusters(60, seed=0)
    probe = fit(features, F.one_hot(labels).float(), l2=1e-4)
    others, truth = clusters(60, seed=1)
    assert (probe(features).argmax(dim=1) == labels).all()
    assert (probe(others).argmax(dim=1) == truth).all()
    assert torch.equal(fit(features, F.one_hot(labels).float(), l2=1e-4).weight, probe.weight)


def test_a_probe_of_nothing_says_how_common_each_class_is() -> None:
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    probe = fit(torch.ones(2, 4), shares, l2=1e-2)
    expected = torch.tensor([0.5, 0.25, 0.25])
    torch.testing.assert_close(probe(torch.ones(4)).softmax(dim=0), expected, atol=1e-3, rtol=0)


def test_the_penalty_is_chosen_by_the_judge() -> None:
    features, labels = clusters(30, seed=0)
    targets = F.one_hot(labels).float()
    strengths = (1e-3, 1.0, 10.0)
    weakest = fit_best(features, targets, judge=lambda probe: -probe.l2, strengths=strengths)
    assert weakest.l2 == 1e-3
    undecided = fit_best(features, targets, judge=lambda _: 0.0, strengths=strengths)
    assert undecided.l2 == 10.0
    assert undecided.weight.norm() < weakest.weight.norm()


def test_shares_of_a_cell() -> None:
    named = np.full((4, 4), 2)
    named[0, 0] = named[0, 1] = 0
    named[2:, 2:] = 1
    shares = label_shares(named, classes=3, grid=2)
    assert shares.tolist() == [[[0.5, 0, 0.5], [0, 0, 1]], [[0, 0, 1], [0, 1, 0]]]
    uneven = label_shares(np.arange(9).reshape(3, 3) % 2, classes=2, grid=2)
    torch.testing.assert_close(uneven.sum(dim=-1), torch.ones(2, 2))


def scene_of(named: np.ndarray, *, unlabelled: tuple[int, ...] = ()) -> Scene:
    """A scene from a class map; 2 is the background."""
    labels = np.array([label for label in (0, 1) if (named == label).any()])
    return Scene(
        image=np.zeros((*named.shape, 3), np.uint8),
        masks=np.stack([named == label for label in labels]),
        labels=labels,
        boxes=np.zeros((len(labels), 4), np.float32),
        unlabelled=np.array(unlabelled, np.int64),
    )


IDENTITY = LinearProbe(torch.eye(3), torch.zeros(3), 0.0)


def test_ious_by_hand() -> None:
    named = np.full((4, 4), 2)
    named[:, :2] = 0
    scene = scene_of(named)
    np.testing.assert_array_equal(class_map(scene, background=2), named)
    right = F.one_hot(torch.from_numpy(named), 3).float()[None]
    ious = class_ious(IDENTITY, right, scenes=[scene], background=2)
    assert ious == [1, None, 1]
    # Noun 1 is answered for the right half of the background.
    answered = named.copy()
    answered[:, 3] = 1
    wrong = F.one_hot(torch.from_numpy(answered), 3).float()[None]
    ious = class_ious(IDENTITY, wrong, scenes=[scene], background=2)
    assert ious == [1, 0, 0.5]
    # But the photo may show it: then it is no answer, and the next best one counts.
    excused = wrong + 0.5 * right
    shown = scene_of(named, unlabelled=(1,))
    ious = class_ious(IDENTITY, excused, scenes=[shown], background=2)
    assert ious == [1, None, 1]


def corpus_of(*labels: int) -> Corpus:
    square = np.ones((32, 32, 1), np.uint8)
    return Corpus(
        cutouts=tuple(square * np.array([*COLOURS[k], 255], np.uint8) for k in labels),
        labels=np.array(labels),
        nouns=("red", "green", "blue"),
        backgrounds=(),
        shown=(),
    )


def test_a_backbone_that_sees_colours_is_probed_without_a_mistake() -> None:
    settings = Settings(nouns=3, pictures=4, scenes=2, size_px=64)
    drawings = Drawings(HELDOUT, corpus_of(0, 1, 2), 3, settings)
    scenes = []
    for label, colour in enumerate(COLOURS):
        named = np.full((64, 64), 3)
        named[16:48, 16:48] = label
        image = np.full((64, 64, 3), 236, np.uint8)
        image[named == label] = colour
        mask = (named == label)[None]
        nothing = np.empty(0, np.int64)
        scenes.append(Scene(image, mask, np.array([label]), np.zeros((1, 4), np.float32), nothing))
    backbone = Backbone(
        "student", lambda x: F.avg_pool2d(x.float(), 8), classification_px=64, segmentation_px=64
    )
    clean = drawings.clean()
    data = ProbeData(
        pictures=(clean, clean),
        labels=3,
        test=lambda rank, name: {},
        scenes=(scenes, scenes, scenes),
        background=3,
        patches=1000,
        seed=0,
    )
    scores = train_classifier(backbone, data)(backbone.pooled(each.image for each in clean))
    assert scores.argmax(dim=1).tolist() == [0, 1, 2]
    segmenter = train_segmenter(backbone, data)
    maps = backbone.patches(scene.image for scene in scenes)
    assert maps.shape == (3, 8, 8, 3)
    ious = class_ious(segmenter, maps, scenes=scenes, background=3)
    assert min(each or 0 for each in ious) > 0.75  # what is lost is lost in upscaling


def test_drawings_to_train_on_and_to_choose_by_are_apart(inputs: Inputs) -> None:
    train, validation = inputs.asked.training(pictures=7, scenes=5)
    assert (train.settings.pictures, train.settings.scenes) == (7, 5)
    assert validation.settings.pictures == inputs.asked.settings.pictures
    both = {id(each) for each in train.corpus.cutouts}
    assert not both & {id(each) for each in validation.corpus.cutouts}
    assert len(validation.corpus.labels) == pytest.approx(len(train.corpus.labels) / 4, abs=1)


def test_a_subset_keeps_what_belongs_together() -> None:
    kept = subset(corpus_of(0, 1, 2), np.array([True, False, True]))
    assert kept.labels.tolist() == [0, 2]
    assert [tuple(each[0, 0, :3]) for each in kept.cutouts] == [COLOURS[0], COLOURS[2]]
    assert len(kept.cutouts) == 2


@pytest.mark.slow
def test_all_backbones_are_probed(inputs: Inputs) -> None:
    found = measure_probing(inputs)
    assert (found.train_pictures, found.train_scenes) == (18, 8)
    by_name = {probe.backbone: probe for probe in found.probes}
    assert list(by_name) == ["sam_teacher", "clip_teacher", "student"]
    assert by_name["student"].classification_width == 2 * 32
    assert by_name["student"].segmentation_width == 32
    assert (by_name["student"].grid, by_name["clip_teacher"].classification_px) == (4, 32)
