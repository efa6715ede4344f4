"""Linear probes of three frozen backbones (paper, section 4.3: tables 3 and 4, figure 4).

A probe is a multinomial logistic regression on standardised features. It is trained on pictures and
scenes of the training split, and tested on held-out ones. The backbones have seen the training
split before; the probes' test is of none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.paper.inputs import Inputs, ProbeData
from benchmarks.paper.record import Probe, Probing
from benchmarks.quality.scores import Confusion, mean_iou
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.picture.frame import letterbox
from training.composed.scenes import Scene
from training.teachers.classifier_clip import ClassifierClip

_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)  # of the L2 penalty, to choose from
_ITERATIONS = 200  # of L-BFGS
_BATCH = 16  # pictures


@dataclass(frozen=True)
class Backbone:
    """A frozen image encoder, and the resolutions at which features and maps are probed.

    `encode` maps pictures, uint8 [B,3,R,R], to a feature map [B,D,g,g].
    """

    name: str
    encode: Callable[[Tensor], Tensor]
    classification_px: int
    segmentation_px: int

    def pooled(self, images: Iterable[np.ndarray]) -> Tensor:
        """The mean and the maximum over the map of each picture, uint8 [S,S,3]: [N,2D]."""
        maps = self._maps(images, resolution=self.classification_px)
        both = ((each.mean(dim=(-2, -1)), each.amax(dim=(-2, -1))) for each in maps)
        return torch.cat([torch.cat(pooled, dim=1) for pooled in both])

    def patches(self, images: Iterable[np.ndarray]) -> Tensor:
        """The map of each picture, uint8 [S,S,3], channels last: [N,g,g,D]."""
        maps = torch.cat(list(self._maps(images, resolution=self.segmentation_px)))
        return maps.permute(0, 2, 3, 1)

    def _maps(self, images: Iterable[np.ndarray], *, resolution: int) -> Iterator[Tensor]:
        # As the public API resizes them; a square one has no padding.
        sized = (letterbox(each, resolution=resolution, pad_colour=PAD_COLOUR) for each in images)
        squares = (square for square, _ in sized)
        while batch := list(islice(squares, _BATCH)):
            with torch.inference_mode():
                yield self.encode(torch.from_numpy(np.concatenate(batch))).float()


def open_backbones(inputs: Inputs) -> tuple[Backbone, ...]:
    """The three, each at resolutions that it was trained at; no SAM that is the student itself.

    CLIP's segmentation is the exception: at its own resolution its map would be a few cells wide,
    so it sees scenes as large as the others do. Of SAM and the student they are the tokens before
    the neck, which the CLIP head reads too, of CLIP the last map before it is pooled.
    """
    large, clip = inputs.pair.model.segmentation_resolution, inputs.pair.clip
    sam, student = inputs.pair.sam.image_encoder, inputs.student().image_encoder

    def last_map(images: Tensor) -> Tensor:
        if isinstance(clip, ClassifierClip):
            return clip.head.features(clip.see(images))
        return clip.visual.forward_features(clip.normalise(images))

    every = (
        Backbone("sam_teacher", lambda images: sam(images)[0], large, large),
        Backbone("clip_teacher", last_map, clip.resolution, large),
        Backbone("student", lambda images: student(images)[0], large, large),
    )
    return every[1:] if inputs.sam_is_student else every


def measure_probing(inputs: Inputs) -> Probing:
    """Trains and tests a classification and a segmentation probe on each backbone."""
    data = inputs.asked.probe_data()
    return Probing(
        train_pictures=len(data.pictures[0]),
        train_scenes=len(data.scenes[0]),
        probes=tuple(_probe(backbone, data) for backbone in open_backbones(inputs)),
    )


def _probe(backbone: Backbone, data: ProbeData) -> Probe:
    classifier = train_classifier(backbone, data)
    segmenter = train_segmenter(backbone, data)
    tested = data.scenes[2]
    maps = backbone.patches(scene.image for scene in tested)
    ious = class_ious(segmenter, maps, scenes=tested, background=data.background)
    return Probe(
        backbone=backbone.name,
        classification_px=backbone.classification_px,
        classification_width=len(classifier.weight),
        classification_l2=classifier.l2,
        accuracy=data.test(
            lambda image: classifier(backbone.pooled([image]))[0].numpy(), f"probe, {backbone.name}"
        ),
        segmentation_px=backbone.segmentation_px,
        segmentation_width=len(segmenter.weight),
        segmentation_l2=segmenter.l2,
        grid=maps.shape[1],
        miou=mean_iou(ious),
        background_iou=ious[data.background] or 0.0,
    )


def train_classifier(backbone: Backbone, data: ProbeData) -> LinearProbe:
    """A probe of pooled features; the penalty is the best on other pictures."""
    train, validation = data.pictures
    truth, labels = (torch.tensor([each.label for each in own]) for own in (validation, train))
    features = backbone.pooled(each.image for each in validation)

    def judge(probe: LinearProbe) -> float:
        return float((probe(features).argmax(dim=1) == truth).float().mean())

    seen = backbone.pooled(each.image for each in train)
    return fit_best(seen, F.one_hot(labels, data.labels).float(), judge=judge)


def train_segmenter(backbone: Backbone, data: ProbeData) -> LinearProbe:
    """A probe of a patch's features, for the classes of the patch's pixels.

    The penalty is the best on other scenes.
    """
    train, validation, _ = data.scenes
    validation_maps = backbone.patches(scene.image for scene in validation)
    features = backbone.patches(scene.image for scene in train)
    grid, classes = features.shape[1], data.background + 1
    truth = (class_map(scene, background=data.background) for scene in train)
    shares = torch.stack([label_shares(each, classes=classes, grid=grid) for each in truth])
    features, shares = features.flatten(0, 2), shares.flatten(0, 2)
    generator = torch.Generator().manual_seed(data.seed)
    chosen = torch.randperm(len(features), generator=generator)[: data.patches]

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

    Logits are upscaled, bilinear, before a pixel takes its highest. A noun that the picture may
    show without a mask is no answer in that scene. None is of a class that is in no scene and
    was never answered.
    """
    confusion = Confusion(background + 1)
    for scene, features in zip(scenes, maps, strict=True):
        logits = probe(features).permute(2, 0, 1).clone()
        logits[torch.from_numpy(np.setdiff1d(scene.unlabelled, scene.labels))] = -1e9
        full = F.interpolate(logits[None], size=scene.image.shape[:2], mode="bilinear")[0]
        truth = class_map(scene, background=background)
        confusion.add(full.argmax(dim=0).numpy(), truth=truth)
    return confusion.ious()


def label_shares(class_map: np.ndarray, *, classes: int, grid: int) -> Tensor:
    """The share of each class in each cell of a class map, int64 [S,S]: float [g,g,C]."""
    each_class = F.one_hot(torch.from_numpy(class_map), classes).permute(2, 0, 1).float()
    return F.adaptive_avg_pool2d(each_class, grid).permute(1, 2, 0)


@dataclass(frozen=True)
class LinearProbe:
    """Logits of C classes from features of width D: weight [D,C], bias [C], the penalty `l2`."""

    weight: Tensor
    bias: Tensor
    l2: float

    def __call__(self, features: Tensor) -> Tensor:
        """Maps features [...,D] to logits [...,C]."""
        return features @ self.weight + self.bias


def fit(features: Tensor, targets: Tensor, *, l2: float) -> LinearProbe:
    """Fits one probe of features [N,D]; the same input gives the same probe.

    A row of targets [N,C] is a distribution over classes: one-hot, or the shares of a patch's
    pixels. Half of `l2` is the penalty on the squared norm of the weights of standardised features.
    """
    mean = features.mean(dim=0)
    scale = features.std(dim=0, correction=0).clamp(min=1e-6)
    inputs = (features - mean) / scale
    weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        entropy = F.cross_entropy(inputs @ weight + bias, targets)
        loss: Tensor = entropy + 0.5 * l2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        own = weight / scale[:, None]
        return LinearProbe(own, bias - mean @ own, l2)


def fit_best(
    features: Tensor,
    targets: Tensor,
    *,
    judge: Callable[[LinearProbe], float],
    strengths: Sequence[float] = _STRENGTHS,
) -> LinearProbe:
    """Fits a probe for each strength and keeps the best; of equals, the one of the strongest.

    The judge, the higher the better, takes data that is neither trained nor tested on.
    """
    probes = [fit(features, targets, l2=l2) for l2 in sorted(strengths, reverse=True)]
    return max(probes, key=judge)
