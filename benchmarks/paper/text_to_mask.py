"""From texts to masks: one model with one head, with both, and two models in a row.

The paper's tables 2, 5 and 7. All are asked the same questions about the same scenes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.paper.everything import TwoModels, name_segments, tune
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import Everything, Method, TextToMasks
from benchmarks.progress import track
from benchmarks.quality.behind_api import teach_nouns
from benchmarks.quality.drawings import Drawings
from benchmarks.quality.measure import HEADS
from benchmarks.quality.scores import TextTally
from samclip_sdk import SamClip
from samclip_sdk.errors import BundleError
from training.calibrate import CALIBRATION_NAME
from training.composed.label_questions import Question, pose_question
from training.composed.scenes import Scene
from training.teachers.captions import EMPTY_NAMES

NEEDS = ("clip_teacher", "sam_teacher", "stage3")

_TUNING_SCENES = 30

Name = Literal["clip_head", "both_heads", "two_models", "two_models_or_nothing"]


@dataclass(frozen=True)
class Given:
    """What one method answered about one scene, and what that took beside one backbone pass."""

    masks: Sequence[np.ndarray]
    clip_passes: int
    milliseconds: float


def measure_text_to_mask(inputs: Inputs) -> TextToMasks:
    """Asks each held-out scene for its own labels and for absent ones, in four ways.

    Raises:
        BundleError: the student is not calibrated, so that it cannot tell absent labels.
    """
    drawings, teachers = inputs.heldout, inputs.teachers
    classes, nothing = teachers.classes(drawings.nouns), teachers.classes(EMPTY_NAMES)
    student = load_student(inputs.run / "stage3", nouns=drawings.nouns, classes=classes)
    two = TwoModels(teachers.sam, teachers.clip, settings=Everything())
    bare = student.embed_text(list(drawings.nouns))
    tallies: dict[Name, TextTally] = defaultdict(TextTally)
    costs: dict[Name, list[Given]] = defaultdict(list)
    tuning, _ = inputs.training(pictures=1, scenes=_TUNING_SCENES)
    asked_to_tune = _ask(tuning, bare, text="choosing thresholds")
    everything = tune(two, asked_to_tune, classes=classes, nothing=nothing)
    for scene, question in _ask(drawings, bare, text="text-to-mask: scenes"):
        asked = [*question.present, *question.absent]
        names = [drawings.nouns[noun] for noun in asked]
        for name, given in (
            *ask_student(student, scene.image, names),
            *ask_two_models(two, scene.image, classes[asked], nothing, settings=everything),
        ):
            tallies[name].add(given.masks, question=question, scene=scene)
            costs[name].append(given)
    methods = (
        Method(
            figures=tally.row(heads=name, split=drawings.split),
            sam_passes=1,
            clip_passes=float(np.mean([given.clip_passes for given in costs[name]])),
            milliseconds=float(np.mean([given.milliseconds for given in costs[name]])),
        )
        for name, tally in tallies.items()
    )
    return TextToMasks(everything=everything, tuning_scenes=_TUNING_SCENES, methods=tuple(methods))


def _ask(drawings: Drawings, bare: np.ndarray, *, text: str) -> Iterator[tuple[Scene, Question]]:
    """Scenes with what is asked about them, by the nouns' text embeddings [K,E]."""
    for scene, rng in track(drawings.scenes(), text, total=drawings.settings.scenes):
        yield scene, pose_question(scene, text_embeddings=bare, rng=rng)


def load_student(folder: Path, *, nouns: Sequence[str], classes: np.ndarray) -> SamClip:
    """Opens a checkpoint behind the public API, and gives it the class embeddings [K,E] of K nouns.

    Raises:
        BundleError: it has no calibration.
    """
    if not (folder / CALIBRATION_NAME).is_file():
        raise BundleError(
            f"{folder} has no {CALIBRATION_NAME}, without which it cannot tell absent labels: "
            f"run `python -m training calibrate --runs {folder.parent.parent}` first"
        )
    student = SamClip.load("torch", model=folder)
    teach_nouns(student, nouns, embeddings=classes)
    return student


def ask_student(
    student: SamClip, image: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[Name, Given]]:
    """Asks the student with one head and with both; each is charged for the backbone pass."""
    embedding, encoding = _timed(lambda: student.encode_image(image))
    for heads, refine in HEADS.items():
        found, ms = _timed(lambda on=refine: student.segment_text(embedding, names, refine=on))
        yield heads, Given(found.masks, clip_passes=0, milliseconds=encoding + ms)


def ask_two_models(
    two: TwoModels,
    image: np.ndarray,
    classes: np.ndarray,
    nothing: np.ndarray,
    *,
    settings: Everything,
) -> Iterator[tuple[Name, Given]]:
    """Asks SAM and CLIP, among the labels [L,E] alone and among these and names for nothing [N,E].

    The paper does not say what its pipeline does with the background.
    """
    segments, looking = _timed(lambda: two.look(image).choose(settings))
    both = np.concatenate([classes, nothing])
    names: dict[Name, np.ndarray] = {"two_models": classes, "two_models_or_nothing": both}
    for name, rivals in names.items():
        masks, ms = _timed(lambda known=rivals: name_segments(segments, known, labels=len(classes)))
        yield name, Given(masks, clip_passes=len(segments.masks), milliseconds=looking + ms)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the milliseconds that it took."""
    started = time.perf_counter()
    return run(), 1000 * (time.perf_counter() - started)
