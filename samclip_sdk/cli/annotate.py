"""`samclip annotate`: many images to one COCO JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from samclip_sdk.annotate.annotation_log import log_path
from samclip_sdk.annotate.annotation_run import (
    AnnotationOutput,
    AnnotationReport,
    annotate_listing,
)
from samclip_sdk.annotate.image_sources import Listing, list_source
from samclip_sdk.annotate.other_formats import OutputFormat
from samclip_sdk.cli.checks import check_ending
from samclip_sdk.cli.cluster import ClusterOptions, Opening
from samclip_sdk.cli.options import AsJson, grouped
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_line, print_table, working

_ENDINGS: dict[OutputFormat, str] = {"coco": ".json", "csv": ".csv", "yolo": ""}

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="the images: a folder, with the folders below it; a pattern in quotes, such as "
        "'photos/**/*.jpg'; a Parquet file or a pattern of them; or a URL of any of these",
    ),
]


@dataclass(frozen=True)
class ProgressOptions:
    """What becomes of an earlier run, and of this one's progress."""

    restart: Annotated[
        bool, typer.Option("--restart", help="do all images again, and forget the progress")
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="replace an output that no run of annotate has begun"),
    ] = False
    discard_progress: Annotated[
        bool,
        typer.Option(
            "--discard-progress",
            help="remove the progress file at the end; by default it stays, and a later run adds "
            "the images that are new",
        ),
    ] = False


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where to."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="what to write; by default annotations.json, .csv or annotations"
        ),
    ] = None
    form: Annotated[
        Literal["coco", "yolo", "csv"],
        typer.Option("--format", help="COCO JSON, YOLO's folder of labels, or a table"),
    ] = "coco"
    with_images: Annotated[
        Literal["link", "copy"] | None,
        typer.Option(
            help="of yolo: lay links to the images, or copies, beside the labels, as trainers "
            "read them"
        ),
    ] = None
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, help="also write COCO JSONs of this many images each, into a folder"),
    ] = None

    def target(self) -> AnnotationOutput:
        """The output.

        Raises:
            WrongUsageError: its ending is of another format, or an option is.
        """
        if self.shard_size is not None and self.form != "coco":
            raise WrongUsageError(f"--shard-size is of --format coco, not of {self.form}")
        if self.with_images is not None and self.form != "yolo":
            raise WrongUsageError(f"--with-images is of --format yolo, not of {self.form}")
        ending = _ENDINGS[self.form]
        target = Path(f"annotations{ending}") if self.output is None else self.output
        if ending:
            check_ending(target, endings=(ending,))
        return AnnotationOutput(target, self.form, self.with_images, self.shard_size)


@dataclass(frozen=True)
class ParquetOptions:
    """The images of Parquet files; see `list_source`."""

    column: Annotated[
        str | None,
        typer.Option(
            help="the Parquet column of images' bytes or paths; by default image, bytes or path"
        ),
    ] = None
    folder: Annotated[
        str | None,
        typer.Option(
            help="the folder in which a Parquet file's paths begin, and below which they stay; by "
            "default the file's own"
        ),
    ] = None
    follow_urls: Annotated[
        bool,
        typer.Option(
            "--follow-urls", help="fetch the images that rows of a Parquet file name by URL"
        ),
    ] = False

    def list_source(self, source: str, *, leave_out: tuple[Path, ...]) -> Listing:
        """Lists the images; raises the errors of `list_source`."""
        return list_source(
            source,
            column=self.column,
            folder=self.folder,
            follow_urls=self.follow_urls,
            leave_out=leave_out,
        )


@grouped
def annotate(
    source: Source,
    *,
    opening: Opening,
    parquet: ParquetOptions,
    written: OutputOptions,
    progress: ProgressOptions,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """Find the objects of labels in all images of a source, and write them as one data set.

    A run that was stopped goes on where it was; a later one adds the images that are new.
    """
    with working("opening", if_interrupted="the same command goes on from there") as display:
        opening = opening.checked()
        target = written.target()
        target.check(overwrite=progress.overwrite)
        cluster.check()
        listing = parquet.list_source(source, leave_out=(target.path, log_path(target.path)))
        listing.check()
        with opening.load(display) as samclip:
            annotator = opening.annotator(samclip)
            with cluster.answering(annotator, opening) as answer:
                report = annotate_listing(
                    annotator.settings,
                    listing,
                    target,
                    answer=answer,
                    **vars(progress),
                    on_progress=display.show,
                )
    _print(report, as_json=as_json)


def _print(report: AnnotationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    if report.skipped:
        rows = [(each.name, each.reason) for each in report.skipped]
        print_table((f"{len(rows)} skipped", "why"), rows)
    print_line(
        f"{report.output}: {report.annotations} annotations of {report.images} images, "
        f"{report.resumed} of them done before; "
        f"{report.seconds:.1f} s, {report.images_per_second:.1f} images/s"
    )
