"""What `samclip annotate` costs by pictures, labels and workers: `python -m benchmarks annotate`.

All answers are checked: whoever annotates, the output is the same, byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.command import ModelName, Output, Write, measurement
from benchmarks.costs import FEW, AnnotationCost, AnnotationCosts, render_annotation
from benchmarks.distinct_pictures import distinct_pictures
from benchmarks.public.files import read_labels
from benchmarks.report import join_tables, track
from samclip_sdk import SamClip
from samclip_sdk.annotate import (
    AnnotationSettings,
    Annotator,
    Listing,
    RayWorkers,
    annotate_listing,
    annotate_pictures,
    list_source,
)
from samclip_sdk.annotate.annotation_run import Answered
from samclip_sdk.annotate.picture_sources import SourcePicture
from samclip_sdk.annotate.ray_workers import HERE
from samclip_sdk.client import DEFAULT_MODEL


def open_annotator(model: str, labels: Sequence[str]) -> Annotator:
    """What a worker calls once."""
    return Annotator(SamClip.load("onnx", model=model, threads=1), labels)


def read_nouns(count: int) -> tuple[str, ...]:
    """The first of COCO-Stuff's names."""
    names = [line.partition(" ")[2] for line in read_labels("coco_stuff.txt")]
    if count > len(names):
        raise ValueError(f"--labels {count}: {len(names)} are the most")
    return tuple(names[:count])


def time_run(
    settings: AnnotationSettings,
    listing: Listing,
    output: Path,
    *,
    workers: int,
    answer: Callable[[Sequence[SourcePicture]], Answered],
) -> AnnotationCost:
    """Annotates all of a listing afresh."""
    report = annotate_listing(settings, listing, output, answer=answer, restart=True)
    return AnnotationCost(
        pictures=report.pictures,
        labels=len(settings.labels),
        workers=workers,
        seconds=round(report.seconds, 3),
    )


def time_single(
    model: SamClip, listing: Listing, folder: Path, *, labels: Sequence[int]
) -> list[AnnotationCost]:
    """Half of the pictures and all of them with the fewest labels, and all with each number.

    What was found of all with so many labels is then in the folder, in a file of that number.
    """
    half = Listing(listing.source, listing.pictures[: len(listing.pictures) // 2], ())
    runs = [(half, min(labels)), *((listing, count) for count in sorted(labels))]
    found = []
    for pictures, count in track(runs, "in one process"):
        annotator = Annotator(model, read_nouns(count))
        annotator(listing.pictures[0].content())  # opens all graphs, which is not timed
        answer = partial(annotate_pictures, annotator)
        output = folder / f"{count}.json"
        found.append(time_run(annotator.settings, pictures, output, workers=0, answer=answer))
    return found


def time_workers(
    opening: Callable[[], Annotator],
    listing: Listing,
    output: Path,
    *,
    counts: Sequence[int],
    expected: bytes,
) -> list[AnnotationCost]:
    """The same with so many workers; raises ValueError if the output is another than one's own."""
    settings, found = opening().settings, []
    for count in track(counts, "on Ray"):
        with RayWorkers(opening, settings=settings, workers=count, address=HERE) as workers:
            workers.join()  # not timed
            answer = workers.annotate
            found.append(time_run(settings, listing, output, workers=count, answer=answer))
        if output.read_bytes() != expected:
            raise ValueError(f"{count} workers write other bytes than one process")
    return found


def annotate(
    pictures: Annotated[int, typer.Option(help="to be annotated", min=2)] = 96,
    labels: Annotated[list[int], typer.Option(help="how many; repeatable", min=1)] = [1, 10, 100],  # noqa: B006, as typer takes it
    workers: Annotated[list[int], typer.Option(help="actors; repeatable", min=1)] = [1, 2, 4],  # noqa: B006, as typer takes it
    model: ModelName = DEFAULT_MODEL,
    output: Output = None,
    write: Write = False,
) -> None:
    """Times annotation by pictures and by labels, and by 1, 2 and 4 workers of Ray.

    On onnxruntime, with one thread in each process. The machine should be idle.
    """
    with measurement("annotate", output=output, write=write) as measured, ExitStack() as stack:
        os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # the same bytes, whenever written
        home = Path(stack.enter_context(TemporaryDirectory()))
        (home / "pictures").mkdir()
        for number, content in enumerate(distinct_pictures(pictures)):
            (home / "pictures" / f"{number:05d}.jpg").write_bytes(content)
        listing = list_source(home / "pictures")
        own = stack.enter_context(SamClip.load("onnx", model=model, threads=1))
        single = time_single(own, listing, home, labels=sorted({*labels, FEW}))
        place = os.path.abspath(model) if Path(model).exists() else model
        many = time_workers(
            partial(open_annotator, place, read_nouns(FEW)),
            listing,
            home / "workers.json",
            counts=workers,
            expected=(home / f"{FEW}.json").read_bytes(),
        )
        record = AnnotationCosts(**measured.run(own), single=tuple(single), workers=tuple(many))
        measured.finish(record, join_tables(render_annotation(record)))
