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

from benchmarks.distinct_pictures import distinct_pictures
from benchmarks.public.files import read_labels
from benchmarks.suite import Measuring, ModelName
from samclip_sdk import SamClip
from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.annotate.annotation_run import Answered, annotate_listing
from samclip_sdk.annotate.annotator import Annotator, annotate_pictures
from samclip_sdk.annotate.picture_sources import Listing, SourcePicture, list_source
from samclip_sdk.annotate.ray_workers import HERE, RayWorkers
from samclip_sdk.bundle.open import DEFAULT_MODEL

FEW = 10
"""Labels of annotation by workers."""


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
    measured: Measuring,
    settings: AnnotationSettings,
    listing: Listing,
    output: Path,
    *,
    workers: int = 0,
    answer: Callable[[Sequence[SourcePicture]], Answered],
) -> None:
    """Annotates all of a listing afresh; 0 workers stand for this process."""
    report = annotate_listing(settings, listing, output, answer=answer, restart=True)
    where = f"{workers} workers" if workers else "one process"
    split = f"{len(settings.labels)} labels, {report.pictures} pictures"
    measured.add(where, split, n=report.pictures, seconds=round(report.seconds, 3))


def time_single(
    measured: Measuring, model: SamClip, listing: Listing, folder: Path, *, labels: Sequence[int]
) -> None:
    """Half of the pictures and all of them with the fewest labels, and all with each number.

    What was found of all with so many labels is then in the folder, in a file of that number.
    """
    half = Listing(listing.source, listing.pictures[: len(listing.pictures) // 2], ())
    runs = [(half, min(labels)), *((listing, count) for count in sorted(labels))]
    for pictures, count in measured.track(runs, "in one process"):
        annotator = Annotator(model, read_nouns(count))
        annotator(listing.pictures[0].content())  # opens all graphs, which is not timed
        answer = partial(annotate_pictures, annotator)
        output = folder / f"{count}.json"
        time_run(measured, annotator.settings, pictures, output, answer=answer)


def time_workers(
    measured: Measuring,
    opening: Callable[[], Annotator],
    listing: Listing,
    output: Path,
    *,
    counts: Sequence[int],
    expected: bytes,
) -> None:
    """The same with so many workers; raises ValueError if the output is another than one's own.

    The start of a cluster is not timed; that workers open their models is.
    """
    settings = opening().settings
    for count in measured.track(list(dict.fromkeys(counts)), "on Ray"):
        with RayWorkers(opening, settings=settings, workers=count, address=HERE) as workers:
            workers.join()
            run = {"workers": count, "answer": workers.annotate}
            time_run(measured, settings, listing, output, **run)
        if output.read_bytes() != expected:
            raise ValueError(f"{count} workers write other bytes than one process")


def annotate(
    measured: Measuring,
    pictures: Annotated[int, typer.Option(help="to be annotated", min=2)] = 96,
    labels: Annotated[list[int], typer.Option(help="how many; repeatable", min=1)] = [1, 10, 100],  # noqa: B006, as typer takes it
    workers: Annotated[list[int], typer.Option(help="actors; repeatable", min=1)] = [1, 2, 4],  # noqa: B006, as typer takes it
    model: ModelName = DEFAULT_MODEL,
) -> None:
    """Times annotation by pictures and by labels, and by 1, 2 and 4 workers of Ray.

    On onnxruntime, with one thread in each process. The machine should be idle.
    """
    with ExitStack() as stack:
        os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # the same bytes, whenever written
        home = Path(stack.enter_context(TemporaryDirectory()))
        (home / "pictures").mkdir()
        for number, content in enumerate(distinct_pictures(pictures)):
            (home / "pictures" / f"{number:05d}.jpg").write_bytes(content)
        listing = list_source(home / "pictures")
        own = stack.enter_context(SamClip.load("onnx", model=model, threads=1))
        measured.of(own)
        time_single(measured, own, listing, home, labels=sorted({*labels, FEW}))
        place = os.path.abspath(model) if Path(model).exists() else model
        opening = partial(open_annotator, place, read_nouns(FEW))
        expected = (home / f"{FEW}.json").read_bytes()
        output = home / "workers.json"
        time_workers(measured, opening, listing, output, counts=workers, expected=expected)
