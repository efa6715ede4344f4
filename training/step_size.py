"""How many batches make a step: from the pictures that it is to have, and the processes."""

from __future__ import annotations

from training.config import (
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    JointConfig,
    SamTeacherConfig,
)
from training.data_config import (
    JointPhotographs,
    LabelledPhotographs,
    MixedPictures,
    MixedScenes,
    PhotographPictures,
    PhotographScenes,
    Pictures,
    Sa1b,
    Scenes,
    Shards,
)
from training.errors import TrainingError
from training.text_config import TextEncoderTrainingConfig

Trained = (
    ClipTeacherConfig
    | ClassifierClipConfig
    | SamTeacherConfig
    | DistillConfig
    | JointConfig
    | TextEncoderTrainingConfig
)
"""The stages that step."""

Source = (
    Pictures
    | Shards
    | PhotographPictures
    | MixedPictures
    | Scenes
    | Sa1b
    | PhotographScenes
    | MixedScenes
    | LabelledPhotographs
    | JointPhotographs
)
"""What they take pictures or scenes from."""


def batches_in_step(settings: Trained, *, processes: int) -> int:
    """How many batches each process takes in a step, of `pictures_per_step` in all of them.

    Raises:
        TrainingError: the processes cannot share the pictures, whole batches each.
    """
    wanted = settings.optimisation.pictures_per_step
    if wanted is None:
        return 1
    batch = pictures_in_batch(settings)
    batches, rest = divmod(wanted, batch * processes)
    if rest:
        who = "1 process" if processes == 1 else f"{processes} processes"
        raise TrainingError(
            f"optimisation.pictures_per_step is {wanted}: {who} with batches of {batch} pictures "
            f"take{'s' if processes == 1 else ''} a multiple of {batch * processes}"
        )
    return batches


def pictures_in_batch(settings: Trained) -> int:
    """How many pictures a batch of a stage has, at its least resolution.

    Raises:
        TrainingError: it has none, or batches of its sources differ.
    """
    match settings:
        case ClipTeacherConfig() | DistillConfig():
            sizes = _sizes(settings.pictures)
        case SamTeacherConfig():
            sizes = _sizes(settings.scenes)
        case ClassifierClipConfig() | JointConfig():
            sizes = _sizes(settings.photographs)
        case _:
            raise TrainingError(
                f"a stage of the task {settings.task} has no pictures: leave out "
                "optimisation.pictures_per_step"
            )
    if len(sizes) > 1:
        told = " and ".join(map(str, sorted(sizes)))
        raise TrainingError(
            f"optimisation.pictures_per_step: batches are of {told} pictures; make them alike, "
            "or leave it out"
        )
    (size,) = sizes
    return size


def _sizes(source: Source) -> set[int]:
    """Of the batches of a source."""
    match source:
        case MixedPictures() | MixedScenes():
            return {size for part in source.parts for size in _sizes(part.of)}
        case Pictures() | PhotographPictures() | Shards():
            return {max(1, source.pixels_per_batch // min(source.resolutions) ** 2)}
        case _:
            return {source.batch}
