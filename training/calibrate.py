"""Calibration of text-to-mask: cosines to scores, and thresholds, by a checkpoint's own answers.

A model is asked for labels that pictures show and for labels that they do not, alike. Composed
scenes and photographs of complete sets say where their labels are; captioned pictures only which
ones they show, so that the thresholds of masks cannot be chosen on them. Every set of photographs
weighs alike. Whatever is tried is tried in memory: no file of a checkpoint changes.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.engine.label_search import sigmoid
from samclip_sdk.errors import TextTruncatedWarning
from samclip_sdk.picture.frame import covered_cells
from samclip_sdk.runtimes.torch.session import Checkpoint
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.text.stored_labels import StoredLabels
from training.asked_pictures import AskedPicture, ask_scenes, scene_things
from training.composed.corpus import Corpus
from training.errors import TrainingError
from training.everything import calibrate_everything
from training.real.captioned_pictures import CaptionedPicture
from training.real.photograph_masks import cell_coverage
from training.real.photograph_questions import AskedPhotographs, Thing
from training.real.photograph_views import whole_view
from training.thresholds import Answer, choose_head_only, choose_presence, fit_patches, fit_peaks

CALIBRATION_NAME = "calibration.json"
NEED_MASKS = ("mask_threshold_score", "head_only_threshold")
"""The thresholds that pictures without masks leave at their defaults; so it is with how score maps
are given to the mask decoder."""

_TRIED = {
    "prompt_scale": (0.75, 1.0, 1.5, 2.0),
    "map_weight": (0.0, 0.125, 0.25, 0.5),
    "mask_threshold_score": (0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
    "mask_bias": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""What is chosen by the masks that both heads draw, one after the other."""

_EVERYTHING = 64
"""Pictures that everything-mode is asked about, at most."""

_DOING = "calibrating"


def read_calibration(checkpoint: Path) -> Calibration:
    """What calibrating left in a checkpoint's folder.

    Raises:
        TrainingError: it was not calibrated, or the file is damaged.
    """
    path = checkpoint / CALIBRATION_NAME
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{checkpoint} is not calibrated: do that first") from error
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: calibrate again") from error


def calibrate_on_scenes(
    checkpoint: Checkpoint,
    corpus: Corpus,
    *,
    scenes: int,
    seed: int,
    most_false: float | None = None,
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Chooses scores and all thresholds on composed scenes, of the segmentation resolution.

    Args:
        checkpoint: the model.
        corpus: of the training split.
        scenes: how many to ask; a third of them, asked once more for each of `_TRIED`, chooses how
            masks are refined, and the first few, which masks everything-mode keeps.
        seed: of the scenes.
        most_false: as of `choose_presence`.
        on_progress: told how many were asked.
    """
    found = _calibrate(
        checkpoint,
        lambda model: ask_scenes(model, corpus, scenes=scenes, seed=seed),
        count=scenes,
        again=scenes // 3,
        most_false=most_false,
        on_progress=on_progress,
    )
    few = min(scenes, _EVERYTHING)
    size_px = checkpoint.manifest.model.segmentation_resolution
    things = scene_things(corpus, scenes=few, seed=seed, size_px=size_px)
    return _with_everything(checkpoint, found, things, count=few, on_progress=on_progress)


def calibrate_on_photographs(
    checkpoint: Checkpoint,
    photographs: AskedPhotographs,
    *,
    most_false: float | None = None,
    broken: Counter[str],
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Chooses scores and all thresholds on photographs of complete sets.

    Args:
        checkpoint: the model.
        photographs: of the split "calibration"; all are asked six times, and the first few for
            everything.
        most_false: as of `choose_presence`.
        broken: counts the pictures that cannot be read, by kind.
        on_progress: told how many were asked.

    Raises:
        TrainingError: none of them can be read, or none shows anything large enough to ask for.
    """
    found = _calibrate(
        checkpoint,
        lambda model: photographs.ask(broken),
        count=len(photographs),
        again=len(photographs),
        most_false=most_false,
        on_progress=on_progress,
    )
    few = min(len(photographs), _EVERYTHING)
    things = photographs.things(Counter(), at_most=few)  # those broken are counted already
    return _with_everything(checkpoint, found, things, count=few, on_progress=on_progress)


def calibrate_on_captions(
    checkpoint: Checkpoint,
    pictures: Iterable[CaptionedPicture],
    *,
    count: int,
    most_false: float | None = None,
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Chooses scores and the presence threshold on pictures of which only captions tell.

    A score says how likely a picture shows a label whose highest cosine in it is the patch's.
    `NEED_MASKS` stay at their defaults.

    Args:
        checkpoint: the model; pictures are seen at its segmentation resolution.
        pictures: with the texts to ask each for.
        count: of the pictures.
        most_false: as of `choose_presence`.
        on_progress: told how many were asked.
    """
    peaks: list[float] = []
    present: list[bool] = []
    with _calibrated(checkpoint, UNCALIBRATED) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # captions are cut in training too
        for done, picture in enumerate(pictures):
            on_progress(_DOING, done, count)
            image = model.encode_image(picture.image)
            texts = (*picture.present, *picture.absent)
            maps = model.segment_text(image, texts, threshold=1.0, refine=False).asked.score_maps
            rows, columns = covered_cells(image.frame, side=maps.shape[-1])
            peaks += _cosines(maps)[:, :rows, :columns].max(axis=(1, 2)).tolist()
            present += [text in picture.present for text in texts]
    on_progress(_DOING, count, count)
    highest, shown = np.array(peaks, np.float32), np.array(present)
    scale, bias = fit_peaks(highest, shown)
    return UNCALIBRATED.model_copy(
        update={
            "scale": scale,
            "bias": bias,
            "presence_threshold": choose_presence(
                sigmoid(scale * (highest - bias)), shown, most_false=most_false
            ),
        }
    )


def _with_everything(
    checkpoint: Checkpoint,
    calibration: Calibration,
    things: Iterable[Thing],
    *,
    count: int,
    on_progress: OnProgress,
) -> Calibration:
    """Adds which masks everything-mode keeps; see `calibrate_everything`."""
    with _calibrated(checkpoint, calibration) as model:
        chosen = calibrate_everything(model, things, count=count, on_progress=on_progress)
    return calibration.model_copy(update=chosen)


def _calibrated(
    checkpoint: Checkpoint, calibration: Calibration, *, labels: Path | None = None
) -> SamClip:
    """The checkpoint under another calibration than its folder has, or has not; in memory only.

    It answers with the checkpoint's id, so that one encodes images for another. The embeddings of
    labels, which no calibration changes, are shared in the folder `labels`.
    """
    trial = copy.copy(checkpoint)
    trial.manifest = trial.manifest.model_copy(update={"calibration": calibration})
    stored = None if labels is None else StoredLabels([_DOING], folder=labels)
    return SamClip(trial, stored_labels=stored)


def _calibrate(
    checkpoint: Checkpoint,
    ask: Callable[[SamClip], Iterable[AskedPicture]],
    *,
    count: int,
    again: int,
    most_false: float | None,
    on_progress: OnProgress,
) -> Calibration:
    """Asks pictures, `count` at most, twice, and the first `again` for what is in `_TRIED`."""
    whole = 2 * count + len(_TRIED) * again
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder)
        answers: list[Answer] = []
        with _calibrated(checkpoint, UNCALIBRATED, labels=labels) as model:
            for done, asked in enumerate(ask(model)):
                on_progress(_DOING, done, whole)
                answers += _answers(model, asked)
        if not any(each.present for each in answers):
            raise TrainingError(f"of {count} pictures to calibrate on, none shows what to ask for")
        chosen = _choose(answers)
        asker = partial(_calibrated, checkpoint, labels=labels)
        for turn, (name, values) in enumerate(_TRIED.items()):
            trials = [Calibration(**chosen | {name: value}) for value in values]
            models = [asker(trial) for trial in trials]
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
    present = np.array([each.present for each in answers])
    sets = [each.of for each in answers]
    chosen["presence_threshold"] = choose_presence(
        np.array(odds), present, sets=sets, most_false=most_false
    )
    return Calibration(**chosen)


def _choose(answers: list[Answer]) -> dict[str, float]:
    """Scores, and the threshold of masks by the CLIP head alone; all else is not chosen yet."""
    scale, bias = fit_patches(answers)
    head_only = choose_head_only(answers, scale=scale, bias=bias)
    fitted = {"scale": scale, "bias": bias, "head_only_threshold": head_only}
    return UNCALIBRATED.model_dump() | fitted


def _answers(model: SamClip, asked: AskedPicture) -> Iterator[Answer]:
    """What an uncalibrated model says of each label of a picture, without the padding."""
    image = model.encode_image(asked.image)
    maps = model.segment_text(image, asked.labels, threshold=1.0, refine=False).asked.score_maps
    side, height_px, width_px = maps.shape[-1], *asked.image.shape[:2]
    rows, columns = covered_cells(image.frame, side=side)
    view = whole_view(height_px, width_px, resolution=image.frame.resolution)
    cell_px = view.frame.resolution // side
    everything = np.ones((height_px, width_px), bool)
    extent = cell_coverage(view.mask(everything), cell_px=cell_px)[:rows, :columns]
    masks = [*asked.masks, *(~everything for _ in asked.absent)]
    for cosines, mask in zip(_cosines(maps), masks, strict=True):
        coverage = cell_coverage(view.mask(mask), cell_px=cell_px)[:rows, :columns] / extent
        yield Answer(cosines[:rows, :columns], coverage, of=asked.of)


def _cosines(maps: np.ndarray) -> np.ndarray:
    """What an uncalibrated model's score maps were made of."""
    return maps / UNCALIBRATED.scale + UNCALIBRATED.bias


def _refined_ious(model: SamClip, image: ImageEmbedding, asked: AskedPicture) -> Iterator[float]:
    """The IoU of both heads' mask of each present label, of those that score one half or more."""
    result = model.segment_text(image, asked.labels)
    for index, mask in zip(result.label_index.tolist(), result.masks, strict=True):
        if index < len(asked.present):
            truth = asked.masks[index]
            yield float((mask & truth).sum() / (mask | truth).sum())


def _odds(model: SamClip, asked: AskedPicture) -> Iterator[float]:
    """The presence of each label; 0 where both heads draw an empty mask, which finds nothing."""
    result = model.segment_text(asked.image, asked.labels, threshold=0.0)
    for presence, mask in zip(result.presence.tolist(), result.masks, strict=True):
        yield presence if mask.any() else 0.0
