"""What `samclip annotate` costs by images, labels and workers: `python -m benchmarks annotate`.

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
from benchmarks.serve import distinct_images
from benchmarks.suite import Measuring, ModelName
from samclip_sdk import SamClip
from samclip_sdk.annotate.annotation_run import AnnotationOutput, annotate_listing
from samclip_sdk.annotate.annotator import Annotator, annotate_images
from samclip_sdk.annotate.image_sources import Listing, list_source
from samclip_sdk.annotate.ray_workers import HERE, RayWorkers
from samclip_sdk.bundle.open import DEFAULT_MODEL

FEW = 10
"""Labels of annotation by workers."""


def open_annotator(model: str, labels: tuple[str, ...]) -> Annotator:
    """What a worker calls once."""
    return Annotator(SamClip.load("onnx", model=model, threads=1), labels)


def annotate(
    measured: Measuring,
    images: Annotated[int, typer.Option(help="to be annotated", min=2)] = 96,
    labels: Annotated[list[int], typer.Option(help="repeatable", min=1, max=171)] = [1, 10, 100],  # noqa: B006, as typer takes it
    workers: Annotated[list[int], typer.Option(help="actors; repeatable", min=1)] = [1, 2, 4],  # noqa: B006, as typer takes it
    model: ModelName = DEFAULT_MODEL,
) -> None:
    """Times annotation by images and by labels, and by 1, 2 and 4 workers of Ray.

    On onnxruntime, with one thread in each process: half of the images and all of them with the
    fewest labels, all with each number, and by workers with ten. The machine should be idle.
    """
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # the same bytes, whenever written
    model_path = os.path.abspath(model) if Path(model).exists() else model
    nouns = tuple(line.partition(" ")[2] for line in read_labels("coco_stuff.txt"))

    def run(where: str, listing: Listing, opened: Annotator, answer: Any) -> bytes:
        """Annotates a listing afresh; what was written."""
        output = home / "found.json"
        target = AnnotationOutput(output)
        report = annotate_listing(opened.settings, listing, target, answer=answer, restart=True)
        split = f"{len(opened.settings.labels)} labels, {report.images} images"
        measured.add(where, split, n=report.images, seconds=round(report.seconds, 3))
        return output.read_bytes()

    with TemporaryDirectory() as scratch, SamClip.load("onnx", model=model, threads=1) as own:
        measured.of(own)
        home, counts = Path(scratch), sorted({*labels, FEW})
        alone = {each: Annotator(own, nouns[:each]) for each in counts}
        (home / "images").mkdir()
        for number, content in enumerate(distinct_images(images)):
            (home / "images" / f"{number:05d}.jpg").write_bytes(content)
        whole, written = list_source(home / "images"), {}
        half = Listing(whole.source, whole.images[: images // 2], ())
        runs = [(half, counts[0]), *((whole, count) for count in counts)]
        for listing, count in measured.track(runs, "in one process"):
            alone[count](whole.images[0].content())  # opens all graphs, which is not timed
            answer = partial(annotate_images, alone[count])
            written[count] = run("one process", listing, alone[count], answer)
        for count in measured.track(list(dict.fromkeys(workers)), "on Ray"):
            opening = partial(open_annotator, model_path, nouns[:FEW])
            how = {"settings": alone[FEW].settings, "workers": count, "address": HERE}
            with RayWorkers(opening, **how) as many:
                many.join()  # the start of a cluster is not timed; that workers open models is
                found = run(f"{count} workers", whole, alone[FEW], many.annotate)
            if found != written[FEW]:
                raise ValueError(f"{count} workers write other bytes than one process")
