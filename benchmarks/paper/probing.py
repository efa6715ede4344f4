"""Linear probes of three frozen backbones (paper, section 4.3: tables 3 and 4, figure 4).

Trained on pictures and scenes of training drawings, tested on held-out drawings. The backbones
have seen the training drawings before; the probes' test is of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.paper.backbones import Backbone, label_shares, open_backbones
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.linear_probe import LinearProbe, fit_best
from benchmarks.paper.record import Probe, Probing
from benchmarks.paper.zero_shot import accuracy
from benchmarks.quality.drawings import Drawings, Picture
from benchmarks.quality.ranking import Rank
from benchmarks.quality.scores import Confusion, mean_iou
from training.composed.scenes import Scene

NEEDS = ("clip_teacher", "sam_teacher", "stage3")

_TRAIN_PICTURES = 6  # for each picture that is tested
_TRAIN_SCENES = 4
_PATCHES = 40_000  # that a segmentation probe is trained on, at most


@dataclass(frozen=True)
class ProbeData:
    """Pictures and scenes in memory, the same for each backbone.

    Pictures are to train on and to choose by, scenes to train on, to choose by and to test.
    `background` is the class of a pixel that is of no object; nouns come before it. The seed is of
    the draw of patches.
    """

    heldout: Drawings
    pictures: tuple[Sequence[Picture], Sequence[Picture]]
    scenes: tuple[Sequence[Scene], Sequence[Scene], Sequence[Scene]]
    background: int
    seed: int


def measure_probing(inputs: Inputs) -> Probing:
    """Trains and tests a classification and a segmentation probe on each backbone."""
    asked = inputs.settings
    more = {"pictures": _TRAIN_PICTURES * asked.pictures, "scenes": _TRAIN_SCENES * asked.scenes}
    train, validation = inputs.training(**more)
    heldout = inputs.heldout
    data = ProbeData(
        heldout=heldout,
        pictures=(list(train.composed()), list(validation.composed())),
        scenes=tuple(
            [scene for scene, _ in each.scenes()] for each in (train, validation, heldout)
        ),
        background=len(heldout.nouns),
        seed=asked.seed,
    )
    return Probing(
        train_pictures=more["pictures"],
        train_scenes=more["scenes"],
        probes=tuple(_probe(backbone, data) for backbone in open_backbones(inputs)),
    )


def _probe(backbone: Backbone, data: ProbeData) -> Probe:
    classifier = train_classifier(backbone, data)
    rank = rank_with(classifier, backbone)
    segmenter = train_segmenter(backbone, data)
    tested = data.scenes[2]
    maps = backbone.patches(scene.image for scene in tested)
    ious = class_ious(segmenter, maps, scenes=tested, background=data.background)
    return Probe(
        backbone=backbone.name,
        classification_px=backbone.classification_px,
        classification_width=len(classifier.weight),
        classification_l2=classifier.l2,
        accuracy=accuracy(rank, data.heldout, name=f"probe, {backbone.name}"),
        segmentation_px=backbone.segmentation_px,
        segmentation_width=len(segmenter.weight),
        segmentation_l2=segmenter.l2,
        grid=maps.shape[1],
        miou=mean_iou(ious),
        background_iou=ious[data.background] or 0.0,
    )


def train_classifier(backbone: Backbone, data: ProbeData) -> LinearProbe:
    """A probe of pooled features; the penalty is the best on pictures of other drawings."""
    train, validation = data.pictures
    features = backbone.pooled(each.image for each in validation)
    truth = torch.tensor([each.label for each in validation])

    def judge(probe: LinearProbe) -> float:
        return float((probe(features).argmax(dim=1) == truth).float().mean())

    targets = F.one_hot(torch.tensor([each.label for each in train]), data.background).float()
    return fit_best(backbone.pooled(each.image for each in train), targets, judge=judge)


def rank_with(probe: LinearProbe, backbone: Backbone) -> Rank:
    """Ranks the nouns of pictures by a probe of a backbone's pooled features."""

    def rank(images: np.ndarray) -> np.ndarray:
        scores: np.ndarray = probe(backbone.pooled(images)).numpy()
        return scores

    return rank


def train_segmenter(backbone: Backbone, data: ProbeData) -> LinearProbe:
    """A probe of a patch's features, for the classes of the patch's pixels.

    The penalty is the best on scenes of other drawings.
    """
    train, validation, _ = data.scenes
    validation_maps = backbone.patches(scene.image for scene in validation)
    features = backbone.patches(scene.image for scene in train)
    grid, classes = features.shape[1], data.background + 1
    truth = (class_map(scene, background=data.background) for scene in train)
    shares = torch.stack([label_shares(each, classes=classes, grid=grid) for each in truth])
    features, shares = features.flatten(0, 2), shares.flatten(0, 2)
    generator = torch.Generator().manual_seed(data.seed)
    chosen = torch.randperm(len(features), generator=generator)[:_PATCHES]

    def judge(probe: LinearProbe) -> float:
        return mean_iou(
            class_ious(probe, validation_maps, scenes=validation, background=data.background)
        )

    return fit_best(features[chosen], shares[chosen], judge=judge)


def class_map(scene: Scene, *, background: int) -> np.ndarray:
    """The noun of each pixel, and `background` where none is: int64 [S,S]."""
    named = np.full(scene.image.shape[:2], background, np.int64)
    for mask, label in zip(scene.masks, scene.labels, strict=True):
        named[mask] = label
    return named


def class_ious(
    probe: LinearProbe, maps: Tensor, *, scenes: Sequence[Scene], background: int
) -> list[float | None]:
    """IoU of each class over all pixels of N scenes, of a backbone's maps of them, [N,g,g,D].

    Logits are upscaled, bilinear, before a pixel takes its highest. A noun that the photo behind
    may show without a mask is no answer in that scene. None is of a class that is in no scene and
    was never answered.
    """
    confusion = Confusion(background + 1)
    for scene, features in zip(scenes, maps, strict=True):
        logits = probe(features).permute(2, 0, 1).clone()
        logits[torch.from_numpy(np.setdiff1d(scene.unlabelled, scene.labels))] = -1e9
        size = scene.image.shape[:2]
        full = F.interpolate(logits[None], size=size, mode="bilinear")[0]
        truth = class_map(scene, background=background)
        confusion.add(full.argmax(dim=0).numpy(), truth=truth)
    return confusion.ious()
