"""The command about many pictures: `samclip annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from samclip_sdk.annotate.annotator import AnnotationReport, Annotator, annotate_folder
from samclip_sdk.cli.terminal import print_json, print_table, show_progress, working
from samclip_sdk.client import DEFAULT_MODEL, SamClip
from samclip_sdk.reading_ahead import READERS


def _check_output(path: Path) -> Path:
    """Refuses an output that could not be written, before any work is done."""
    if path.suffix.lower() != ".json":
        raise typer.BadParameter(f"{path} must end in .json")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder of {path} does not exist")
    return path


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="of the pictures, in it and in the folders below it",
    ),
]
Labels = Annotated[str | None, typer.Option(help="nouns with commas between: dog,cat")]
LabelsFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="a text file with a label in each line"),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="the COCO JSON to write", callback=_check_output)
]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="presence below which a label is absent")
]
MaskThreshold = Annotated[float | None, typer.Option(help="the logit that a pixel must exceed")]
Points = Annotated[int, typer.Option(min=1, help="points drawn for a label")]
Refine = Annotated[
    bool, typer.Option(help="let the mask decoder draw the masks, or the CLIP head alone")
]
Seed = Annotated[int, typer.Option(min=0, help="of the draw of points")]
Readers = Annotated[
    int, typer.Option(min=1, help="threads that read and decode pictures ahead of the model")
]
Restart = Annotated[bool, typer.Option("--restart", help="forget what an earlier run has done")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace an output that no run of annotate has begun")
]
Model = Annotated[str, typer.Option(help="a bundle's folder, .zip or name; or a checkpoint")]
Runtime = Annotated[str, typer.Option(help="onnx, openvino, coreml, tensorrt, torch or auto")]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, fp16, bf16, int8 or auto; by default the bundle's own choice"),
]
Threads = Annotated[int, typer.Option(min=0, help="of onnx and openvino; 0: their choice")]
AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]


def annotate(
    folder: Folder,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    output: Output = Path("annotations.json"),
    threshold: Threshold = None,
    mask_threshold: MaskThreshold = None,
    points_per_class: Points = 3,
    refine: Refine = True,
    seed: Seed = 0,
    readers: Readers = READERS,
    restart: Restart = False,
    overwrite: Overwrite = False,
    model: Model = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    precision: Precision = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Find the labels in all pictures of a folder, and write their masks as one COCO JSON.

    A run that was stopped goes on where it was; a later one adds the pictures that are new.
    """
    names = _read_labels(labels, labels_file)
    with (
        working("opening") as status,
        SamClip.load(
            runtime, model=model, precision=precision, threads=threads, on_progress=show_progress
        ) as samclip,
    ):
        annotator = Annotator(
            samclip,
            names,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
            seed=seed,
        )
        with _Bar(status) as bar:
            report = annotate_folder(
                annotator,
                folder,
                output,
                readers=readers,
                restart=restart,
                overwrite=overwrite,
                on_progress=bar.show,
            )
    _print(report, as_json=as_json)


def _read_labels(labels: str | None, file: Path | None) -> list[str]:
    """The labels of one of the two options, or fails as wrong usage."""
    if (labels is None) == (file is None):
        raise typer.BadParameter("give --labels or --labels-file, one of the two")
    if file is None:
        return [label.strip() for label in (labels or "").split(",")]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} is not text in UTF-8: {error}") from error
    return [line.strip() for line in lines if line.strip()]


class _Rate(ProgressColumn):
    """Pictures per second of this run."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} pictures/s")


class _Bar:
    """A bar on a terminal, and what is done if the run is interrupted.

    Args:
        status: the spinner that it takes the place of.
    """

    def __init__(self, status: Status) -> None:
        self._console = status.console
        self._status = status
        self._progress = Progress(
            TextColumn("annotating"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            _Rate(),
            console=status.console,
            transient=True,
            disable=not status.console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)
        self._done, self._total = 0, 0

    def __enter__(self) -> _Bar:
        self._status.stop()
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._console.print(
                f"interrupted: {self._done} of {self._total} files are through; "
                "the same command goes on from there",
                soft_wrap=True,
            )

    def show(self, message: str, done: int, total: int) -> None:
        """Moves the bar; the first call tells what an earlier run has done."""
        if not self._total:  # Not progress of this run: it must not count as speed.
            self._progress.reset(self._task, total=total, completed=done)
        else:
            self._progress.update(self._task, completed=done)
        self._done, self._total = done, total


def _print(report: AnnotationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    if report.skipped:
        rows = [(each.name, each.reason) for each in report.skipped]
        print_table((f"{len(rows)} skipped", "why"), rows)
    typer.echo(
        f"{report.output}: {report.annotations} annotations of {report.pictures} pictures, "
        f"{report.resumed} of them done before; "
        f"{report.seconds:.1f} s, {report.pictures_per_second:.1f} pictures/s"
    )
