"""The command about many pictures: `samclip annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.annotate.annotator import (
    AnnotationReport,
    Annotator,
    annotate_folder,
    check_output,
)
from samclip_sdk.cli.options import (
    AsJson,
    Labels,
    LabelsFile,
    MaxInstances,
    ModelOptions,
    RunOptions,
    TextCache,
    TextOptions,
    Vocabulary,
    check_ending,
    check_instances,
    grouped,
    known_labels,
    read_labels,
)
from samclip_sdk.cli.terminal import print_json, print_line, print_table, working
from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.reading_ahead import READERS

Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="of the pictures, in it and in the folders below it"),
]
Instances = Annotated[
    bool, typer.Option(help="an annotation for each object, or one for each label")
]
Polygons = Annotated[bool, typer.Option("--polygons", help="masks as polygons; by default as RLE")]
Output = Annotated[Path, typer.Option("--output", "-o", help="the COCO JSON to write")]
Readers = Annotated[
    int, typer.Option(min=1, help="threads that read and decode pictures ahead of the model")
]
Restart = Annotated[bool, typer.Option("--restart", help="forget what an earlier run has done")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace an output that no run of annotate has begun")
]


@grouped
def annotate(
    folder: Folder,
    labels: Labels = None,
    *,
    labels_file: LabelsFile = None,
    vocabulary: Vocabulary = None,
    text_cache: TextCache = True,
    asked: TextOptions,
    instances: Instances = True,
    max_instances: MaxInstances = None,
    polygons: Polygons = False,
    output: Output = Path("annotations.json"),
    readers: Readers = READERS,
    restart: Restart = False,
    overwrite: Overwrite = False,
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Find the objects of labels in all pictures of a folder, and write them as one COCO JSON.

    A run that was stopped goes on where it was; a later one adds the pictures that are new.
    """
    with working("opening", if_interrupted="the same command goes on from there") as display:
        names = read_labels(labels, labels_file, vocabulary=vocabulary)
        check_instances(instances, max_instances=max_instances, asked=asked)
        check_ending(output, endings=(".json",))
        check_output(output, overwrite=overwrite)
        if not folder.is_dir():
            raise StorageError(f"{one_line(folder)} is not a folder")
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            annotator = Annotator(
                samclip,
                known_labels(samclip, names, vocabulary),
                threshold=asked.threshold,
                mask_threshold=asked.mask_threshold,
                points_per_class=asked.points_per_class,
                refine=asked.refine,
                instances=instances,
                max_instances=max_instances,
                polygons=polygons,
            )
            report = annotate_folder(
                annotator,
                folder,
                output,
                readers=readers,
                restart=restart,
                overwrite=overwrite,
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
        f"{report.output}: {report.annotations} annotations of {report.pictures} pictures, "
        f"{report.resumed} of them done before; "
        f"{report.seconds:.1f} s, {report.pictures_per_second:.1f} pictures/s"
    )
