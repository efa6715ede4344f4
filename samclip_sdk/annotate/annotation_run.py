"""One run over the images of a source: it does those that are left, and writes the output."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import computed_field

from samclip_sdk.annotate.annotation_log import (
    AnnotationLog,
    AnnotationSettings,
    log_path,
    shards_path,
)
from samclip_sdk.annotate.image_files import GIVEN, ImageFile, Skipped
from samclip_sdk.annotate.image_sources import Listing, SourceImage
from samclip_sdk.annotate.other_formats import (
    ImagesForm,
    OutputFormat,
    check_images,
    check_yolo_names,
    lay_images,
    write_csv,
    write_yolo,
)
from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.system.atomic_file import atomic_file, check_target
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.records import Record

Answered: TypeAlias = "Generator[tuple[SourceImage, dict[str, Any] | ImageError], None, None]"
"""Images in any order, each once, with its answer or the reason why it cannot be read."""


class AnnotationReport(Record):
    """The outcome of `annotate_listing`.

    Attributes:
        output: the COCO JSON.
        images: the number of images in it.
        annotations: the number of annotations in it.
        resumed: how many of the images an earlier run had done.
        skipped: the images that are not in it, and why.
        seconds: the time that the images of this run took.
        images_per_second: the speed of this run; 0 if it had no image to do.
    """

    output: Path
    images: int
    annotations: int
    resumed: int
    skipped: tuple[Skipped, ...]
    seconds: float

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def images_per_second(self) -> float:
        """The number of images that this run did in a second."""
        done = self.images - self.resumed
        return done / self.seconds if done else 0.0


@dataclass(frozen=True)
class AnnotationOutput:
    """What `annotate_listing` writes.

    Attributes:
        path: the COCO JSON, the table, or YOLO's folder, replaced whole at the end.
        form: the format.
        images: whether YOLO's folder gets links to the images, or copies; neither by default.
        shard_size: if given, COCO JSONs of this many images each are written too, into the folder
            `shards_path`.
    """

    path: Path
    form: OutputFormat = "coco"
    images: ImagesForm | None = None
    shard_size: int | None = None

    def check(self, *, overwrite: bool) -> None:
        """Refuses what cannot be written, or would replace a file of another origin.

        Args:
            overwrite: whether any file may be replaced.

        Raises:
            StorageError: the reason.
        """
        log = log_path(self.path)
        is_folder = self.form == "yolo"
        check_target(log if is_folder else self.path)
        if is_folder and self.path.exists() and not self.path.is_dir():
            raise StorageError(f"{one_line(self.path)} is a file, and YOLO's output is a folder")
        shards = () if self.shard_size is None else (shards_path(self.path),)
        for path in (self.path, *shards):
            if path.exists() and not log.exists() and not overwrite:
                raise StorageError(
                    f"{path} is there, and no progress of annotate beside it: it may be something "
                    "else. Give another output, or replace it with --overwrite (overwrite=True)"
                )

    def check_images(self, sources: Sequence[SourceImage]) -> None:
        """Refuses images that the format cannot hold; raises StorageError."""
        if self.images is not None:
            check_images(sources, form=self.form)
        if self.form == "yolo":
            check_yolo_names(image.name for image in sources)

    def write(
        self, log: AnnotationLog, sources: Sequence[SourceImage], *, labels: Sequence[str]
    ) -> int:
        """Writes everything whole; returns the number of annotations."""
        if self.form == "csv":
            with atomic_file(self.path) as file:
                return write_csv(file, log.entries(sources), labels=labels)
        if self.form == "yolo":
            with atomic_folder(self.path) as folder:
                if self.images is not None:
                    files = (
                        each for each in sources if each in log and isinstance(each, ImageFile)
                    )
                    lay_images(folder, files, images=self.images)
                return write_yolo(folder, log.entries(sources), labels=labels)
        annotations = log.write_coco(self.path, sources)
        if self.shard_size is not None:
            log.write_shards(self.path, sources, size=self.shard_size)
        return annotations


def annotate_listing(
    settings: AnnotationSettings,
    listing: Listing,
    output: AnnotationOutput,
    *,
    answer: Callable[[Sequence[SourceImage]], Answered],
    restart: bool = False,
    overwrite: bool = False,
    discard_progress: bool = False,
    on_progress: OnProgress = no_progress,
) -> AnnotationReport:
    """Writes the annotations of all images of a source; only this process writes.

    A progress file beside the output, `log_path`, has a line for each finished image. A run that
    was stopped goes on from it. A later run does the images that are new, that were replaced, or
    that could not be read before.

    Args:
        settings: the settings of the annotator that answers.
        listing: the images, see `list_source`.
        output: what is written.
        answer: annotates images; see `annotate_images` and `RayWorkers.annotate`.
        restart: whether to forget the progress of an earlier run.
        overwrite: whether to replace an output that has no progress file beside it, and so was not
            written by this function.
        discard_progress: whether the progress file goes once the output is written. A later run
            then begins anew.
        on_progress: called after each image with a message, the number of finished images, and
            the number of all.

    Raises:
        StorageError: the output or its progress file cannot be written; there is an output of
            another origin; the progress file was begun with other settings, or is in use; or
            `images` is given for another format, or for images that are no files.
        ImageError: there is no image, or none can be read; there is no output then.
    """
    output.check(overwrite=overwrite)
    sources, skipped = listing.images, list(listing.skipped)
    listing.check()
    output.check_images(sources)
    with AnnotationLog(log_path(output.path), settings=settings, restart=restart) as log:
        todo = [image for image in sources if image not in log]
        resumed = len(sources) - len(todo)
        on_progress("annotating", resumed, len(sources))
        start = time.perf_counter()
        with closing(answer(todo)) as answers:
            for count, (image, found) in enumerate(answers, resumed + 1):
                if isinstance(found, ImageError):
                    skipped.append(_skipped(image, found))
                else:
                    log.append(image, found)
                on_progress("annotating", count, len(sources))
        seconds = time.perf_counter() - start
        skipped.sort(key=lambda each: each.name)
        done = sum(image in log for image in sources)
        if not done:
            raise _nothing_read(listing.source, skipped=skipped)
        annotations = output.write(log, sources, labels=settings.labels)
        if discard_progress:
            log.discard()
    return AnnotationReport(
        output=output.path,
        images=done,
        annotations=annotations,
        resumed=resumed,
        skipped=tuple(skipped),
        seconds=seconds,
    )


def _skipped(image: SourceImage, error: ImageError) -> Skipped:
    """An image that cannot be read, and why: the list has its path already."""
    shown = one_line(image.path) if isinstance(image, ImageFile) else GIVEN
    return Skipped(name=image.name, reason=str(error).removeprefix(shown).lstrip(": "))


def _nothing_read(source: str, *, skipped: Sequence[Skipped]) -> ImageError:
    first = f"the first is {one_line(skipped[0].name)}: {skipped[0].reason}"
    return ImageError(f"none of {len(skipped)} images in {one_line(source)} can be read; {first}")
