"""Calibration of text-to-mask: scores and thresholds, by the answers of the model itself.

A model is asked for labels that images show and for labels that they do not show: of composed
scenes, or of photographs of complete sets. Every set of photographs has the same weight. Everything
is tried in memory: no file of a checkpoint changes.
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration, ProposedObjectScore
from samclip_sdk.image.frame import covered_cells
from samclip_sdk.runtimes.torch.session import Checkpoint
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.text.stored_labels import StoredLabels
from training.asked_images import AskedImage, ask_scenes, scene_things
from training.composed.corpus import Corpus
from training.errors import TrainingError
from training.everything import calibrate_everything
from training.object_scores import Judged, fit_object_score, fit_proposed_objects, judge
from training.real.photograph_masks import cell_coverage
from training.real.photograph_questions import AskedPhotographs
from training.real.photograph_views import whole_view
from training.thresholds import Answer, choose_head_only, choose_presence, fit_patches

CALIBRATION_NAME = "calibration.json"

_TRIED = {
    "prompt_scale": (0.75, 1.0, 1.5, 2.0),
    "mask_threshold_score": (0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
    "mask_bias": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""The values that are tried, one setting after the other, by the masks of both heads."""

_AGAIN = 240
"""The largest number of photographs that are asked for each of these settings."""

_EVERYTHING = 64
"""The largest number of images for everything-mode."""

_DOING = "calibrating"


def calibrate_on_scenes(
    checkpoint: Checkpoint,
    corpus: Corpus,
    *,
    scenes: int,
    seed: int,
    max_false: float | None = None,
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Chooses scores and all thresholds on composed scenes of the segmentation resolution.

    A third of the scenes is asked again for each setting of `_TRIED`, and the first few are used
    for everything-mode. The corpus is of the training split; of `max_false` tells
    `choose_presence`.
    """
    few = min(scenes, _EVERYTHING)
    size_px = checkpoint.manifest.model.segmentation_resolution
    found = _calibrate(
        checkpoint,
        lambda model: ask_scenes(model, corpus, scenes=scenes, seed=seed),
        counts=(scenes, scenes // 3),
        max_false=max_false,
        on_progress=on_progress,
    )
    things = scene_things(corpus, scenes=few, seed=seed, size_px=size_px)
    with _calibrated(checkpoint, found) as model:
        chosen = calibrate_everything(model, things, count=few, on_progress=on_progress)
    return found.model_copy(update=chosen)


def calibrate_on_photographs(
    checkpoint: Checkpoint,
    photographs: AskedPhotographs,
    *,
    labels: Calibration | None = None,
    max_false: float | None = None,
    object_precision: float | None = None,
    broken: Counter[str],
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Chooses scores and all thresholds on photographs of complete sets.

    All are asked twice, the first `_AGAIN` again for each setting of `_TRIED`, and the first few
    are used for everything-mode. The scores and thresholds of `labels` stay, if it is given.
    Without `object_precision`, of which `fit_object_score` tells, objects have the product of their
    scores. `broken` counts the images that cannot be read, by kind.

    Raises:
        TrainingError: no photograph can be read, or none shows anything that is large enough.
    """
    count, counted = len(photographs), broken
    if labels is None:
        labels = _calibrate(
            checkpoint,
            lambda model: photographs.ask(broken),
            counts=(count, min(count, _AGAIN)),
            max_false=max_false,
            on_progress=on_progress,
        )
        counted = Counter()  # those broken are counted already
    few = min(count, _EVERYTHING)
    things = photographs.things(counted, max_images=few)
    with _calibrated(checkpoint, labels) as model:
        chosen = calibrate_everything(model, things, count=few, on_progress=on_progress)
    found = labels.model_copy(update=chosen)
    if object_precision is None:
        return found

    def judge_with(score: ProposedObjectScore | None) -> Judged:
        trial = found.model_copy(update={"proposed_objects": score})
        objects = photographs.named_objects(Counter())
        with _calibrated(checkpoint, trial) as model:
            return judge(model, objects, count=count, on_progress=on_progress)

    parts = fit_object_score(judge_with(None), precision=object_precision)
    proposed = None
    if parts is not None and checkpoint.manifest.model.proposes:
        proposed = fit_proposed_objects(judge_with, start=parts, precision=object_precision)
    return found.model_copy(update={"objects": parts, "proposed_objects": proposed})


def _calibrated(
    checkpoint: Checkpoint, calibration: Calibration, *, labels: Path | None = None
) -> SamClip:
    """Returns the checkpoint with another calibration, in memory only.

    It has the checkpoint's id, so that images that one model encoded can be given to another. The
    folder `labels` shares the embeddings of labels, which no calibration changes.
    """
    trial = copy.copy(checkpoint)
    trial.manifest = trial.manifest.model_copy(update={"calibration": calibration})
    stored = None if labels is None else StoredLabels([_DOING], folder=labels)
    return SamClip(trial, stored_labels=stored)


def _calibrate(
    checkpoint: Checkpoint,
    ask: Callable[[SamClip], Iterable[AskedImage]],
    *,
    counts: tuple[int, int],
    max_false: float | None,
    on_progress: OnProgress,
) -> Calibration:
    """Chooses what concerns labels; the `counts` are of all images and of those asked again.

    All are asked twice, the first of them again for each setting of `_TRIED`.
    """
    count, again = counts
    whole = 2 * count + len(_TRIED) * again
    with tempfile.TemporaryDirectory() as folder:
        asker = partial(_calibrated, checkpoint, labels=Path(folder))
        answers: list[Answer] = []
        with asker(UNCALIBRATED) as model:
            for done, asked in enumerate(ask(model)):
                on_progress(_DOING, done, whole)
                answers += _answers(model, asked)
        if not any(each.present for each in answers):
            raise TrainingError(f"of {count} images to calibrate on, none shows what to ask for")
        scale, bias = fit_patches(answers)
        head_only = choose_head_only(answers, scale=scale, bias=bias)
        fitted = {"scale": scale, "bias": bias, "head_only_threshold": head_only}
        chosen = UNCALIBRATED.model_dump() | fitted
        for turn, (name, values) in enumerate(_TRIED.items()):
            models = [asker(Calibration(**chosen | {name: value})) for value in values]
            ious: list[list[float]] = [[] for _ in models]
            for done, asked in enumerate(islice(ask(models[0]), again)):
                on_progress(_DOING, count + turn * again + done, whole)
                image = models[0].encode_image(asked.image)
                for found, model in zip(ious, models, strict=True):
                    found += _refined_ious(model, image, asked)
            means = [float(np.mean(found)) if found else 0.0 for found in ious]
            chosen[name] = values[int(np.argmax(means))]
        odds: list[float] = []
        model = asker(Calibration(**chosen))
        for done, asked in enumerate(ask(model)):
            on_progress(_DOING, whole - count + done, whole)
            odds += _odds(model, asked)
    on_progress(_DOING, whole, whole)
    chosen["presence_threshold"] = choose_presence(
        np.array(odds),
        np.array([each.present for each in answers]),
        sets=[each.of for each in answers],
        max_false=max_false,
    )
    return Calibration(**chosen)


def _answers(model: SamClip, question: AskedImage) -> Iterator[Answer]:
    """Yields the answer of an uncalibrated model to each label of an image, without padding."""
    image = model.encode_image(question.image)
    maps = model.segment_text(image, question.labels, threshold=1.0, refine=False).asked.score_maps
    side, height_px, width_px = maps.shape[-1], *question.image.shape[:2]
    rows, columns = covered_cells(image.frame, side=side)
    view = whole_view(height_px, width_px, resolution=image.frame.resolution)
    cell_px = view.frame.resolution // side
    everything = np.ones((height_px, width_px), bool)
    extent = cell_coverage(view.mask(everything), cell_px=cell_px)[:rows, :columns]
    masks = [*question.masks, *(~everything for _ in question.absent)]
    for cosines, mask in zip(maps / UNCALIBRATED.scale + UNCALIBRATED.bias, masks, strict=True):
        coverage = cell_coverage(view.mask(mask), cell_px=cell_px)[:rows, :columns] / extent
        yield Answer(cosines[:rows, :columns], coverage, of=question.of)


def _refined_ious(model: SamClip, image: ImageEmbedding, question: AskedImage) -> Iterator[float]:
    """Yields the IoU of both heads' mask of each present label with a score of one half or more."""
    result = model.segment_text(image, question.labels)
    for index, mask in zip(result.label_index.tolist(), result.masks, strict=True):
        if index < len(question.present):
            truth = question.masks[index]
            yield float((mask & truth).sum() / (mask | truth).sum())


def _odds(model: SamClip, question: AskedImage) -> Iterator[float]:
    """Yields the presence of each label; 0 if the mask of both heads is empty."""
    result = model.segment_text(question.image, question.labels, threshold=0.0)
    for presence, mask in zip(result.presence.tolist(), result.masks, strict=True):
        yield presence if mask.any() else 0.0
