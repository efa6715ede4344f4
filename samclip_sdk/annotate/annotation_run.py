"""A run over the pictures of a source: what is left to do, one writer, the output at the end."""

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
from samclip_sdk.annotate.picture_files import GIVEN, PictureFile, Skipped
from samclip_sdk.annotate.picture_sources import Listing, SourcePicture
from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.system.atomic_file import check_target
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.records import Record

Answered: TypeAlias = "Generator[tuple[SourcePicture, dict[str, Any] | ImageError], None, None]"
"""Pictures in any order, each once, with its answer or with the reason why it cannot be read."""


class AnnotationReport(Record):
    """What `annotate_listing` did.

    Attributes:
        output: the COCO JSON.
        pictures: how many are in it.
        annotations: how many are in it.
        resumed: how many of the pictures an earlier run had done.
        skipped: pictures that are not in it, and why.
        seconds: how long the pictures of this run took.
        pictures_per_second: of this run; 0 if it had none to do.
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
        """How many pictures this run did in a second."""
        done = self.pictures - self.resumed
        return done / self.seconds if done else 0.0


def annotate_listing(
    settings: AnnotationSettings,
    listing: Listing,
    output: Path,
    *,
    answer: Callable[[Sequence[SourcePicture]], Answered],
    shard_size: int | None = None,
    restart: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> AnnotationReport:
    """Writes COCO JSON of all pictures of a source; only this process writes.

    A progress file beside the output, `log_path`, has a line for each finished picture. A run that
    was stopped, by whatever, goes on from it; so does a later one, with what is new, was replaced,
    or could not be read.

    Args:
        settings: of whoever answers.
        listing: of `list_source`.
        output: the COCO JSON, replaced whole at the end.
        answer: annotates pictures; see `annotate_pictures` and `RayWorkers.annotate`.
        shard_size: also write COCO JSONs of so many pictures each into a folder, `shards_path`.
        restart: forget what an earlier run did.
        overwrite: replace an output that has no progress file beside it, and so is not ours.
        on_progress: told after each picture how many are through, of how many.

    Raises:
        StorageError: the output or its progress file cannot be written; the output is not ours; or
            the progress file was begun with other settings, or is in use.
        ImageError: there is no picture, or none can be read; there is no output then.
    """
    check_output(output, overwrite=overwrite, sharded=shard_size is not None)
    pictures, skipped = listing.pictures, list(listing.skipped)
    listing.check()
    with AnnotationLog(log_path(output), settings=settings, restart=restart) as log:
        todo = [picture for picture in pictures if picture not in log]
        resumed = len(pictures) - len(todo)
        on_progress("annotating", resumed, len(pictures))
        start = time.perf_counter()
        with closing(answer(todo)) as answers:
            for count, (picture, found) in enumerate(answers, resumed + 1):
                if isinstance(found, ImageError):
                    reason = _reason(found, picture=picture)
                    skipped.append(Skipped(name=picture.name, reason=reason))
                else:
                    log.append(picture, found)
                on_progress("annotating", count, len(pictures))
        seconds = time.perf_counter() - start
        skipped.sort(key=lambda each: each.name)
        done = sum(picture in log for picture in pictures)
        if not done:
            raise _nothing_read(listing.source, skipped=skipped)
        annotations = log.write_coco(output, pictures)
        if shard_size is not None:
            log.write_shards(output, pictures, size=shard_size)
    return AnnotationReport(
        output=output,
        pictures=done,
        annotations=annotations,
        resumed=resumed,
        skipped=tuple(skipped),
        seconds=seconds,
    )


def check_output(output: Path, *, overwrite: bool, sharded: bool = False) -> None:
    """Refuses what could not be written, or would take the place of something foreign.

    Args:
        output: of `annotate_listing`, which checks it too.
        overwrite: as there.
        sharded: whether shards are written, too.

    Raises:
        StorageError: the reason.
    """
    check_target(output)
    for path in (output, *([shards_path(output)] if sharded else [])):
        if path.exists() and not log_path(output).exists() and not overwrite:
            raise StorageError(
                f"{path} is there, and no progress of annotate beside it: it may be something "
                "else. Give another output, or replace it with --overwrite (overwrite=True)"
            )


def _reason(error: ImageError, *, picture: SourcePicture) -> str:
    """The message without the path, which the list of skipped files has already."""
    shown = one_line(picture.path) if isinstance(picture, PictureFile) else GIVEN
    return str(error).removeprefix(shown).lstrip(": ")


def _nothing_read(source: str, *, skipped: Sequence[Skipped]) -> ImageError:
    first = f"the first is {one_line(skipped[0].name)}: {skipped[0].reason}"
    return ImageError(f"none of {len(skipped)} pictures in {one_line(source)} can be read; {first}")
