"""What a stage reads, looked for before any work is done."""

from __future__ import annotations

import glob
from pathlib import Path

from training.config import (
    CalibrateConfig,
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    FoundationTeachers,
    JointConfig,
    PhotographTeachers,
    PublishConfig,
    SamTeacherConfig,
    SmallTeachers,
    StageConfig,
    Teachers,
    start_folder,
)
from training.data_config import (
    CaptionedPictures,
    MixedPictures,
    MixedScenes,
    Photographs,
    Sa1b,
    Shards,
)
from training.errors import TrainingError
from training.real.captioned_pictures import read_labels
from training.real.photographs import find_sets
from training.teachers.efficientnet_lite import lite2_file
from training.teachers.photograph_pair import CLIP, SAM, TEXT_ENCODER
from training.teachers.pretrained import check_open_clip, check_segment_anything
from training.teachers.taught_names import read_names
from training.teachers.teacher_pair import WEIGHTS_NAME
from training.teachers.text_teacher import TEXT_TEACHER
from training.text.lexicon_file import LEXICON
from training.text.phrases import read_captions
from training.text.sentences import check_sentence_encoder
from training.text.wordnet import check_wordnet
from training.text_config import (
    LexiconConfig,
    TextEncoderTrainingConfig,
    TextTeacherConfig,
)


def check_inputs(settings: StageConfig, *, runs: Path) -> None:
    """Looks for the checkpoints, folders and files that a stage's settings name.

    Args:
        settings: of the stage.
        runs: folder of the runs, one a stage.

    Raises:
        TrainingError: one is missing; the message says which setting names it, or what makes it.
    """
    match settings:
        case ClipTeacherConfig() | SamTeacherConfig():
            _check_start(settings.starts_from)
            if isinstance(settings, SamTeacherConfig):
                _check_start(settings.prompts_from)
                if settings.backbone is not None:
                    lite2_file()
                _check_photographs(settings.scenes)
        case TextTeacherConfig():
            lite2_file()
            check_sentence_encoder()
            check_wordnet(settings.wordnet)
        case LexiconConfig():
            check_sentence_encoder()
            check_wordnet(settings.wordnet)
            check_trained(runs / TEXT_TEACHER)
            _check_photographs(settings.photographs)
        case ClassifierClipConfig():
            _check_start(settings.starts_from)
            lite2_file()
            check_sentence_encoder()
            check_trained(runs / TEXT_TEACHER)
            _check_photographs(settings.photographs)
        case TextEncoderTrainingConfig():
            _check_text_encoder(settings, runs=runs)
        case DistillConfig():
            _check_merge(settings, runs=runs)
        case JointConfig():
            _check_joint(settings, runs=runs)
        case EmbeddingsConfig():
            _check_clip(settings.teachers, runs=runs)
            _check_sources(settings.pictures)
        case PublishConfig():
            for name in (*settings.results, *filter(None, [settings.text_encoder])):
                check_trained(runs / name)
        case CalibrateConfig():
            check_trained(runs / settings.checkpoint)
            if settings.pictures is not None:
                _check_captioned(settings.pictures)
            _check_photographs(settings.photographs)


def _check_joint(settings: JointConfig, *, runs: Path) -> None:
    lite2_file()
    check_wordnet(settings.wordnet)
    for folder in (settings.prompts_from, runs / TEXT_TEACHER, runs / TEXT_ENCODER):
        check_trained(folder)
    read_names(runs / LEXICON)
    _check_photographs(settings.photographs)


def _check_merge(settings: DistillConfig, *, runs: Path) -> None:
    _check_clip(settings.teachers, runs=runs)
    if settings.starts_from == "teachers" or settings.asks_sam:
        _check_sam(settings.teachers, runs=runs)
    if settings.starts_from != "teachers":
        check_trained(start_folder(settings.starts_from, runs=runs))
    if isinstance(settings.pictures, Shards):
        _check_shards(settings.pictures)
    if isinstance(settings.scenes, Sa1b):
        _check_folder(settings.scenes.folder, setting="scenes.folder")
    _check_photographs(settings.pictures, settings.scenes)


def _check_text_encoder(settings: TextEncoderTrainingConfig, *, runs: Path) -> None:
    _check_start(settings.starts_from)
    corpus = settings.corpus
    check_sentence_encoder()
    check_wordnet(corpus.wordnet)
    if corpus.captions is not None:
        read_captions(corpus.captions)
    check_trained(runs / TEXT_TEACHER)
    if settings.names_share:
        read_names(runs / LEXICON)


def _check_sam(teachers: Teachers, *, runs: Path) -> None:
    match teachers:
        case FoundationTeachers():
            check_segment_anything(teachers.sam, teachers.sam_checkpoint)
        case PhotographTeachers():
            check_trained(runs / SAM)
            check_trained(runs / TEXT_ENCODER)
        case SmallTeachers():
            check_trained(runs / "sam_teacher")


def _check_clip(teachers: Teachers, *, runs: Path) -> None:
    match teachers:
        case FoundationTeachers():
            check_open_clip(teachers.clip, teachers.pretrained)
        case PhotographTeachers():
            lite2_file()
            check_trained(runs / CLIP)
        case SmallTeachers():
            check_trained(runs / "clip_teacher")


def check_trained(folder: Path) -> None:
    """Makes sure that a stage has left its weights; raises TrainingError if not."""
    if not (folder / WEIGHTS_NAME).is_file():
        raise TrainingError(
            f"{folder} has no {WEIGHTS_NAME}: run the stage {folder.name} to its end first"
        )


def _check_start(folder: Path | None) -> None:
    if folder is not None:
        check_trained(folder)


def _check_shards(pictures: Shards) -> None:
    _check_sources(pictures)
    if pictures.embeddings is not None and not pictures.embeddings.is_dir():
        raise TrainingError(
            f"there is no embedding cache {pictures.embeddings}: make it first, with a stage of "
            "the task embeddings, or leave out pictures.embeddings"
        )
    if pictures.zero_shot is not None:
        _check_folder(pictures.zero_shot, setting="pictures.zero_shot")


def _check_photographs(*sources: object) -> None:
    """Looks for the sets of photographs that sources of pictures or scenes are of, if they are."""
    for source in sources:
        if isinstance(source, MixedPictures | MixedScenes):
            _check_photographs(*(part.of for part in source.parts))
        elif isinstance(source, Photographs):
            find_sets(source)
            if source.held_out is not None:
                read_labels(source.held_out)


def _check_captioned(pictures: CaptionedPictures) -> None:
    _check_sources(pictures)
    if pictures.labels is not None:
        read_labels(pictures.labels)


def _check_sources(pictures: Shards | CaptionedPictures) -> None:
    for source in pictures.sources:
        if next(glob.iglob(source.shards, recursive=True), None) is None:
            raise TrainingError(
                f"no shard matches {source.shards!r}: say where yours are with pictures.sources"
            )


def _check_folder(folder: Path, *, setting: str) -> None:
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}: say where it is with {setting}")
