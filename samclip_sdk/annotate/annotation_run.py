"""One run over the pictures of a source: it does those that are left, and writes the output."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import computed_field

from samclip_sdk.annotate.annotation_log import (
    AnnotationLog,
    AnnotationSettings,
    log_path,
    shards_path,
)
from samclip_sdk.annotate.other_formats import (
    ImagesForm,
    OutputFormat,
    check_images,
    check_yolo_names,
    lay_images,
    write_csv,
    write_yolo,
)
from samclip_sdk.annotate.picture_files import GIVEN, PictureFile, Skipped
from samclip_sdk.annotate.picture_sources import Listing, SourcePicture
from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.system.atomic_file import atomic_file, check_target
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.records import Record

Answered: TypeAlias = "Generator[tuple[SourcePicture, dict[str, Any] | ImageError], None, None]"
"""Pictures in any order, each once, with its answer or the reason why it cannot be read."""


class AnnotationReport(Record):
    """The outcome of `annotate_listing`.

    Attributes:
        output: the COCO JSON.
        pictures: the number of pictures in it.
        annotations: the number of annotations in it.
        resumed: how many of the pictures an earlier run had done.
        skipped: the pictures that are not in it, and why.
        seconds: the time that the pictures of this run took.
        pictures_per_second: the speed of this run; 0 if it had no picture to do.
    """

    output: Path
    pictures: int
    annotations: int
    resumed: int
    skipped: tuple[Skipped, ...]
    seconds: float

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def pictures_per_second(self) -> float:
        """The number of pictures that this run did in a second."""
        done = self.pictures - self.resumed
        return done / self.seconds if done else 0.0


def annotate_listing(
    settings: AnnotationSettings,
    listing: Listing,
    output: Path,
    *,
    answer: Callable[[Sequence[SourcePicture]], Answered],
    form: OutputFormat = "coco",
    images: ImagesForm | None = None,
    shard_size: int | None = None,
    restart: bool = False,
    overwrite: bool = False,
    discard_progress: bool = False,
    on_progress: OnProgress = no_progress,
) -> AnnotationReport:
    """Writes the annotations of all pictures of a source; only this process writes.

    A progress file beside the output, `log_path`, has a line for each finished picture. A run that
    was stopped goes on from it. A later run does the pictures that are new, that were replaced, or
    that could not be read before.

    Args:
        settings: the settings of the annotator that answers.
        listing: the pictures, see `list_source`.
        output: the COCO JSON, the table, or YOLO's folder, replaced whole at the end.
        answer: annotates pictures; see `annotate_pictures` and `RayWorkers.annotate`.
        form: the format of the output.
        images: whether YOLO's folder gets links to the pictures, or copies; neither by default.
        shard_size: if given, COCO JSONs of this many pictures each are written too, into the folder
            `shards_path`.
        restart: whether to forget the progress of an earlier run.
        overwrite: whether to replace an output that has no progress file beside it, and so was not
            written by this function.
        discard_progress: whether the progress file goes once the output is written. A later run
            then begins anew.
        on_progress: called after each picture with a message, the number of finished pictures, and
            the number of all.

    Raises:
        StorageError: the output or its progress file cannot be written; there is an output of
            another origin; the progress file was begun with other settings, or is in use; or
            `images` is given for another format, or for pictures that are no files.
        ImageError: there is no picture, or none can be read; there is no output then.
    """
    check_output(output, overwrite=overwrite, form=form, sharded=shard_size is not None)
    pictures, skipped = listing.pictures, list(listing.skipped)
    listing.check()
    _check_pictures(pictures, form=form, images=images)
    with AnnotationLog(log_path(output), settings=settings, restart=restart) as log:
        todo = [picture for picture in pictures if picture not in log]
        resumed = len(pictures) - len(todo)
        on_progress("annotating", resumed, len(pictures))
        start = time.perf_counter()
        with closing(answer(todo)) as answers:
            for count, (picture, found) in enumerate(answers, resumed + 1):
                if isinstance(found, ImageError):
                    skipped.append(_skipped(picture, found))
                else:
                    log.append(picture, found)
                on_progress("annotating", count, len(pictures))
        seconds = time.perf_counter() - start
        skipped.sort(key=lambda each: each.name)
        done = sum(picture in log for picture in pictures)
        if not done:
            raise _nothing_read(listing.source, skipped=skipped)
        annotations = _write(
            log, output, pictures, form=form, images=images, labels=settings.labels
        )
        if shard_size is not None:
            log.write_shards(output, pictures, size=shard_size)
        if discard_progress:
            log.discard()
    return AnnotationReport(
        output=output,
        pictures=done,
        annotations=annotations,
        resumed=resumed,
        skipped=tuple(skipped),
        seconds=seconds,
    )


def _check_pictures(
    pictures: Sequence[SourcePicture], *, form: OutputFormat, images: ImagesForm | None
) -> None:
    """Refuses pictures that the output's format cannot hold."""
    if images is not None:
        check_images(pictures, form=form)
    if form == "yolo":
        check_yolo_names(picture.name for picture in pictures)


def _write(
    log: AnnotationLog,
    output: Path,
    pictures: Sequence[SourcePicture],
    *,
    form: OutputFormat,
    images: ImagesForm | None,
    labels: Sequence[str],
) -> int:
    """Writes the output whole; returns the number of annotations in it."""
    if form == "coco":
        return log.write_coco(output, pictures)
    if form == "csv":
        with atomic_file(output) as file:
            return write_csv(file, log.entries(pictures), labels=labels)
    with atomic_folder(output) as folder:
        if images is not None:
            files = (each for each in pictures if each in log and isinstance(each, PictureFile))
            lay_images(folder, files, images=images)
        return write_yolo(folder, log.entries(pictures), labels=labels)


def check_output(
    output: Path, *, overwrite: bool, form: OutputFormat = "coco", sharded: bool = False
) -> None:
    """Refuses an output that cannot be written, or that would replace a file of another origin.

    Args:
        output: what is to be written; `annotate_listing` makes the same check.
        overwrite: whether any file may be replaced.
        form: the format of the output; YOLO's is a folder.
        sharded: whether a folder of shards is written too.

    Raises:
        StorageError: the reason.
    """
    check_target(log_path(output) if form == "yolo" else output)
    if form == "yolo" and output.exists() and not output.is_dir():
        raise StorageError(f"{one_line(output)} is a file, and YOLO's output is a folder")
    for path in (output, *([shards_path(output)] if sharded else [])):
        if path.exists() and not log_path(output).exists() and not overwrite:
            raise StorageError(
                f"{path} is there, and no progress of annotate beside it: it may be something "
                "else. Give another output, or replace it with --overwrite (overwrite=True)"
            )


def _skipped(picture: SourcePicture, error: ImageError) -> Skipped:
    """A picture that cannot be read, and why: the list has its path already."""
    shown = one_line(picture.path) if isinstance(picture, PictureFile) else GIVEN
    return Skipped(name=picture.name, reason=str(error).removeprefix(shown).lstrip(": "))


def _nothing_read(source: str, *, skipped: Sequence[Skipped]) -> ImageError:
    first = f"the first is {one_line(skipped[0].name)}: {skipped[0].reason}"
    return ImageError(f"none of {len(skipped)} pictures in {one_line(source)} can be read; {first}")
