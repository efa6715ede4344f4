"""What `samclip annotate` costs by pictures, labels and workers: `python -m benchmarks annotate`.

All answers are checked: whoever annotates, the output is the same, byte for byte.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.public.files import read_labels
from benchmarks.serve import distinct_pictures
from benchmarks.suite import Measuring, ModelName
from samclip_sdk import SamClip
from samclip_sdk.annotate.annotation_run import annotate_listing
from samclip_sdk.annotate.annotator import Annotator, annotate_pictures
from samclip_sdk.annotate.picture_sources import Listing, list_source
from samclip_sdk.annotate.ray_workers import HERE, RayWorkers
from samclip_sdk.bundle.open import DEFAULT_MODEL

FEW = 10
"""Labels of annotation by workers."""


def open_annotator(model: str, labels: tuple[str, ...]) -> Annotator:
    """What a worker calls once."""
    return Annotator(SamClip.load("onnx", model=model, threads=1), labels)


def annotate(
    measured: Measuring,
    pictures: Annotated[int, typer.Option(help="to be annotated", min=2)] = 96,
    labels: Annotated[list[int], typer.Option(help="repeatable", min=1, max=171)] = [1, 10, 100],  # noqa: B006, as typer takes it
    workers: Annotated[list[int], typer.Option(help="actors; repeatable", min=1)] = [1, 2, 4],  # noqa: B006, as typer takes it
    model: ModelName = DEFAULT_MODEL,
) -> None:
    """Times annotation by pictures and by labels, and by 1, 2 and 4 workers of Ray.

    On onnxruntime, with one thread in each process: half of the pictures and all of them with the
    fewest labels, all with each number, and by workers with ten. The machine should be idle.
    """
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # the same bytes, whenever written
    place = os.path.abspath(model) if Path(model).exists() else model
    nouns = tuple(line.partition(" ")[2] for line in read_labels("coco_stuff.txt"))

    def run(where: str, listing: Listing, opened: Annotator, answer: Any) -> bytes:
        """Annotates a listing afresh; what was written."""
        output = home / "found.json"
        report = annotate_listing(opened.settings, listing, output, answer=answer, restart=True)
        split = f"{len(opened.settings.labels)} labels, {report.pictures} pictures"
        measured.add(where, split, n=report.pictures, seconds=round(report.seconds, 3))
        return output.read_bytes()

    with TemporaryDirectory() as scratch, SamClip.load("onnx", model=model, threads=1) as own:
        measured.of(own)
        home, counts = Path(scratch), sorted({*labels, FEW})
        alone = {each: Annotator(own, nouns[:each]) for each in counts}
        (home / "pictures").mkdir()
        for number, content in enumerate(distinct_pictures(pictures)):
            (home / "pictures" / f"{number:05d}.jpg").write_bytes(content)
        whole, written = list_source(home / "pictures"), {}
        half = Listing(whole.source, whole.pictures[: pictures // 2], ())
        runs = [(half, counts[0]), *((whole, count) for count in counts)]
        for listing, count in measured.track(runs, "in one process"):
            alone[count](whole.pictures[0].content())  # opens all graphs, which is not timed
            answer = partial(annotate_pictures, alone[count])
            written[count] = run("one process", listing, alone[count], answer)
        for count in measured.track(list(dict.fromkeys(workers)), "on Ray"):
            opening = partial(open_annotator, place, nouns[:FEW])
            how = {"settings": alone[FEW].settings, "workers": count, "address": HERE}
            with RayWorkers(opening, **how) as many:
                many.join()  # the start of a cluster is not timed; that workers open models is
                found = run(f"{count} workers", whole, alone[FEW], many.annotate)
            if found != written[FEW]:
                raise ValueError(f"{count} workers write other bytes than one process")
