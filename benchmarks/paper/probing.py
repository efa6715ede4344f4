"""Linear probes of three frozen backbones (paper, section 4.3: tables 3 and 4, figure 4).

A probe is a multinomial logistic regression on standardised features. It is trained on images and
scenes of the training split, and tested on held-out ones. The backbones have seen the training
split before; the probes' test is of none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.masks import Confusion, mean_iou
from benchmarks.metrics.names import rank_of_truth, top_k
from benchmarks.paper.probe_data import ProbeData, Scene, probe_data
from benchmarks.paper.run import Inputs
from benchmarks.quality.dataset import ALL
from benchmarks.suite import Measuring
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import letterbox
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_config
from training.teachers.pretrained import OpenClip
from training.teachers.small import ClipTeacher, SmallClip

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Of the L2 penalty, to choose from, the strongest first."""

Probe = Callable[[np.ndarray], np.ndarray]
"""Features [N,D] to logits of C classes, float64 [N,C]; a class that was not trained is none."""

_ITERATIONS = 200  # of L-BFGS
_BATCH = 16  # images
_PATCHES = 10_000  # with wide features and real names, more cost hours
_NEVER = -1e9


@dataclass(frozen=True)
class Backbone:
    """A frozen image encoder, and the resolutions at which features and maps are probed.

    `encode` maps images, uint8 [B,3,R,R], to a feature map [B,D,g,g].
    """

    name: str
    encode: Callable[[Tensor], Tensor]
    classification_px: int
    segmentation_px: int

    def pooled(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """The mean and the maximum over the map of each image, uint8 [S,S,3]: [N,2D]."""
        maps = self._maps(images, resolution=self.classification_px)
        both = ((each.mean(dim=(-2, -1)), each.amax(dim=(-2, -1))) for each in maps)
        return torch.cat([torch.cat(pooled, dim=1) for pooled in both]).numpy()

    def patches(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """The map of each image, uint8 [S,S,3], channels last: [N,g,g,D]."""
        maps = torch.cat(list(self._maps(images, resolution=self.segmentation_px)))
        return maps.permute(0, 2, 3, 1).numpy()

    def _maps(self, images: Iterable[np.ndarray], *, resolution: int) -> Iterator[Tensor]:
        # As the public API resizes them; a square one has no padding.
        sized = (letterbox(each, resolution=resolution, pad_colour=PAD_COLOUR) for each in images)
        squares = (square for square, _ in sized)
        while batch := list(islice(squares, _BATCH)):
            with torch.inference_mode():
                yield self.encode(torch.from_numpy(np.concatenate(batch))).float()


def open_backbones(inputs: Inputs) -> tuple[Backbone, ...]:
    """The three, each at resolutions that it was trained at.

    The segmentation of a CLIP that takes any size is the exception: at its own resolution its map
    would be a few cells wide, so it sees scenes as large as the others do. Of SAM and the student
    they are the tokens before the neck, which the CLIP head reads too, of CLIP the last map before
    it is pooled.
    """
    shipped, clip = load_checkpoint(inputs.folder).requires_grad_(False), inputs.pair.clip
    large, student = shipped.config.segmentation_resolution, shipped.image_encoder
    clip_px = (clip.resolution, clip.resolution if isinstance(clip, OpenClip) else large)
    sam = inputs.pair.stage0(seed=0).eval().image_encoder
    return (
        Backbone("sam_teacher", lambda images: sam(images)[0], large, large),
        Backbone("clip_teacher", partial(last_map, clip), *clip_px),
        Backbone("student", lambda images: student(images)[0], large, large),
    )


def last_map(clip: ClipTeacher, images: Tensor) -> Tensor:
    """What a CLIP pools, [B,D,g,g], of images uint8 [B,3,S,S]."""
    match clip:
        case SmallClip():
            return clip.visual.forward_features(clip.normalise(images))
        case OpenClip():
            seen = (images.float() - clip.mean) / clip.std
            maps = clip.model.visual.forward_intermediates(seen, 1, intermediates_only=True)
            return maps["image_intermediates"][-1]
    raise TypeError(f"a {type(clip).__name__} tells of no map that could be probed")


def measure_probing(measured: Measuring, inputs: Inputs) -> None:
    """Trains and tests a classification and a segmentation probe on each backbone."""
    size_px = read_config(inputs.folder).segmentation_resolution
    data, seed = probe_data(inputs.dataset, size_px=size_px), inputs.dataset.seed
    measured.settings["train_images"] = len(data.images[0])
    measured.settings["train_scenes"] = len(data.scenes[0])
    for backbone in measured.track(open_backbones(inputs), "probing"):
        classifier = train_classifier(backbone, data)
        segmenter = train_segmenter(backbone, data, seed=seed)
        images, scenes = data.images[2], data.scenes[2]
        scores = classifier(backbone.pooled(each.read() for each in images))
        ranks = [
            rank_of_truth(own, right=[each.label]) for own, each in zip(scores, images, strict=True)
        ]
        maps = backbone.patches(scene.image for scene in scenes)
        ious = class_ious(segmenter, maps, scenes=scenes, classes=data.classes)
        figures = {"miou": mean_iou(ious), "background_iou": ious[-1] or 0.0}
        measured.add(f"probing: {backbone.name}", grid=maps.shape[1], **figures)
        top = top_k(np.array(ranks), inputs.bootstrap, owners=np.arange(len(ranks)))
        who, count = f"probing: {backbone.name}: probed", len(data.names)
        measured.add(who, ALL, n=len(ranks), names=count, **top)


def train_classifier(backbone: Backbone, data: ProbeData) -> Probe:
    """A probe of pooled features; the penalty is the best on other images."""
    train, validation, _ = data.images
    truth, labels = (np.array([each.label for each in own]) for own in (validation, train))
    features = backbone.pooled(each.read() for each in validation)

    def judge(probe: Probe) -> float:
        return float((probe(features).argmax(axis=1) == truth).mean())

    seen = backbone.pooled(each.read() for each in train)
    return fit_best(seen, np.eye(len(data.names))[labels], judge=judge)


def train_segmenter(backbone: Backbone, data: ProbeData, *, seed: int) -> Probe:
    """A probe of a patch's features, for the classes of the patch's pixels.

    The penalty is the best on other scenes. Of more patches than may be, some are drawn by `seed`.
    """
    train, validation, _ = data.scenes
    other_maps, features = (
        backbone.patches(each.image for each in own) for own in (validation, train)
    )
    how = {"classes": data.classes, "grid": features.shape[1]}
    shares = np.concatenate([label_shares(each.class_map, **how) for each in train])
    features = features.reshape(len(shares), -1)
    chosen = np.random.default_rng(seed).permutation(len(features))[:_PATCHES]

    def judge(probe: Probe) -> float:
        return mean_iou(class_ious(probe, other_maps, scenes=validation, classes=data.classes))

    return fit_best(features[chosen], shares[chosen], judge=judge)


def class_ious(
    probe: Probe, maps: np.ndarray, *, scenes: Sequence[Scene], classes: int
) -> list[float | None]:
    """IoU of each class over all pixels of N scenes, of a backbone's maps of them, [N,g,g,D].

    Logits are upscaled, bilinear, before a pixel takes its highest. A noun that the image may
    show without a mask is no answer in that scene. None is of a class that is in no scene and
    was never answered.
    """
    confusion = Confusion(classes)
    for scene, features in zip(scenes, maps, strict=True):
        logits = probe(features.reshape(-1, features.shape[-1]))
        logits[:, scene.unsure] = _NEVER
        cells = torch.from_numpy(logits).reshape(*features.shape[:2], -1).permute(2, 0, 1)
        full = F.interpolate(cells[None], size=scene.class_map.shape, mode="bilinear")[0]
        confusion.add(full.argmax(dim=0).numpy(), truth=scene.class_map)
    return confusion.ious()


def label_shares(class_map: np.ndarray, *, classes: int, grid: int) -> np.ndarray:
    """The share of each class in each cell of a class map, int64 [S,S]: float [g*g,C]."""
    each_class = F.one_hot(torch.from_numpy(class_map), classes).permute(2, 0, 1).float()
    return F.adaptive_avg_pool2d(each_class, grid).flatten(1).T.numpy()


def fit(features: np.ndarray, targets: np.ndarray, *, l2: float) -> Probe:
    """Fits one probe of features [N,D]; the same input gives the same probe.

    A row of targets [N,C] is a distribution over classes: one-hot, or the shares of a patch's
    pixels, each of which counts as an example of that weight. Half of `l2` is the penalty on the
    squared norm of the weights of standardised features.
    """
    rows, labels = targets.nonzero()
    if len(set(labels.tolist())) < 2:
        raise ValueError("a probe needs examples of two classes or more")
    regression = LogisticRegression(C=1 / (l2 * len(features)), max_iter=_ITERATIONS)
    fitted = make_pipeline(StandardScaler(), regression)
    weights = {f"{name}__sample_weight": targets[rows, labels] for name in fitted.named_steps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all probes end after so many steps
        fitted.fit(features[rows], labels, **weights)

    def probe(asked: np.ndarray) -> np.ndarray:
        logits = np.full((len(asked), targets.shape[1]), _NEVER)
        found = fitted.decision_function(asked)
        if found.ndim == 1:  # of two classes, what speaks for the second
            found = np.stack([np.zeros_like(found), found], axis=1)
        logits[:, fitted.classes_] = found
        return logits

    return probe


def fit_best(
    features: np.ndarray, targets: np.ndarray, *, judge: Callable[[Probe], float]
) -> Probe:
    """Fits a probe for each strength and keeps the best; of equals, the one of the strongest.

    The judge, the higher the better, takes data that is neither trained nor tested on.
    """
    return max([fit(features, targets, l2=l2) for l2 in STRENGTHS], key=judge)
