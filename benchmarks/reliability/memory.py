"""What a process holds over many calls of one verb, and over a long work, and how that grows."""

from __future__ import annotations

import gc
import io
import itertools
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
import psutil
import typer

from benchmarks.reliability.questions import (
    LABELS,
    TINY_BUNDLE,
    VERBS,
    load_exact,
    make_image,
    make_subjects,
    write_images,
)
from benchmarks.serve import Server, connected, post, serving, upload
from benchmarks.suite import Measuring, ModelName, Seed
from samclip_sdk import SamClip
from samclip_sdk.annotate.annotator import Annotator, annotate_folder
from samclip_sdk.engine.queries import InstanceQuery

IMAGES = 4
CALL_SAMPLES = 50
SAMPLES = 100
WARM_UP = 0.1
"""The share of a long work after which the first sample is taken."""

_ENDS = 0.1  # the share of the samples, first and last, that growth is told from
_CLIENTS = 2
# What a server keeps of images is bounded; so small, it is full before the first sample.
_BOUNDS = ("--body-mb", "8", "--images-mb", "8", "--embeddings-mb", "8")


class Sample(NamedTuple):
    """What a process holds after `at` calls, images or minutes. MB are of 10^6 bytes."""

    at: float
    rss_mb: float
    handles: int
    threads: int


def take_sample(process: psutil.Process, *, at: float, with_children: bool = False) -> Sample:
    """What a process holds now, and its children if asked; `handles` are open files."""
    all_of_it = [process, *(process.children(recursive=True) if with_children else ())]
    return Sample(
        at,
        rss_mb=sum(each.memory_info().rss for each in all_of_it) / 1e6,
        handles=sum(each.num_fds() for each in all_of_it),
        threads=sum(each.num_threads() for each in all_of_it),
    )


def growth(samples: Iterable[Sample]) -> dict[str, float]:
    """How what is held grows: figures by metric.

    `growth_mb` is the median of the last tenth of the samples less that of the first, `slope_mb`
    what memory grows with `at`, in MB for each of it, by least squares; `more_handles` and
    `more_threads` compare the ends; `rss_mb` is that of the end.
    """
    at, rss_mb, handles, threads = np.array(list(samples)).T
    count = max(1, int(_ENDS * len(at)))
    return {
        "rss_mb": rss_mb[-1],
        "growth_mb": median(rss_mb[-count:]) - median(rss_mb[:count]),
        "slope_mb": np.polyfit(at, rss_mb, 1)[0] if np.ptp(at) else 0.0,
        "more_handles": handles[-1] - handles[0],
        "more_threads": threads[-1] - threads[0],
    }


def sample_calls(
    model: SamClip, verb: str, *, calls: int, warm_up: int, seed: int
) -> Iterator[Sample]:
    """Calls a verb over and over, on a few images in turn: samples, evenly spread.

    Calls of the warm-up, in which memory pools and caches fill, are not sampled.
    """
    subjects = make_subjects(model, images=IMAGES, seed=seed)
    process, every = psutil.Process(), max(1, calls // CALL_SAMPLES)
    for number in range(-warm_up, calls + 1):
        if number >= 0 and number % every == 0:
            gc.collect()  # what only waits for that is no leak
            yield take_sample(process, at=number)
        if number < calls:
            VERBS[verb](model, subjects[number % IMAGES])


def memory(
    measured: Measuring,
    size: Annotated[int, typer.Option(min=1, help="calls of each verb")] = 10_000,
    verb: Annotated[list[str] | None, typer.Option(help="by default each; repeatable")] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="calls before the first sample")] = 500,
    model: ModelName = TINY_BUNDLE,
    seed: Seed = 0,
) -> None:
    """Calls each verb over and over, and samples memory, file handles and threads."""
    if unknown := set(verb or ()) - set(VERBS):
        raise ValueError(f"there is no {', '.join(unknown)}: give some of {', '.join(VERBS)}")
    with load_exact(model) as loaded:
        measured.of(loaded)
        for each in dict.fromkeys(verb or VERBS):
            samples = sample_calls(loaded, each, calls=size, warm_up=warm_up, seed=seed)
            found = growth(measured.track(samples, each, total=CALL_SAMPLES))
            measured.add(f"memory: {each}", n=size, **found)
            measured.save()


def long_run(
    measured: Measuring,
    images: Annotated[int, typer.Option(min=0, help="to make and annotate")] = 20_000,
    minutes: Annotated[float, typer.Option(min=0, help="to serve for")] = 30.0,
    model: ModelName = TINY_BUNDLE,
    seed: Seed = 0,
) -> None:
    """Annotates a large folder, then serves; samples memory, file handles and threads.

    With 0 images or 0 minutes that part is left out, and stays as it was recorded.
    """
    with load_exact(model) as loaded:
        measured.of(loaded)
        if images:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "images"
                measured.say("making images")
                write_images(folder, images, seed=seed, size=(64, 48))
                samples = sample_annotation(measured, loaded, folder, Path(scratch) / "out.json")
            measured.add("long run: annotate", length=images, **growth(samples))
            measured.save()
    if minutes:
        found = sample_server(model, minutes=minutes, seed=seed)
        samples = list(measured.track(found, "serving", total=SAMPLES))
        measured.add("long run: serve", length=minutes, **growth(samples))


def sample_annotation(
    measured: Measuring, model: SamClip, images: Path, output: Path
) -> list[Sample]:
    """Annotates a folder in this process, and samples it on the way; goes on where it stopped."""
    process, samples = psutil.Process(), []

    def note(message: str, done: int, total: int) -> None:
        if done >= WARM_UP * total and done % max(1, total // SAMPLES) == 0:
            samples.append(take_sample(process, at=done))
        measured.say("annotating", done, total)

    annotator = Annotator(model, InstanceQuery(labels=LABELS, threshold=0))
    annotate_folder(annotator, images, output, on_progress=note)
    return samples


def sample_server(model: str, *, minutes: float, seed: int) -> Iterator[Sample]:
    """Serves a model to clients that never send one image twice; samples its processes together.

    Samples, in minutes, begin after `WARM_UP` of them.

    Raises:
        ValueError: the server does not start, or an answer is an error.
    """
    numbers, stop, asked = itertools.count(), threading.Event(), {"labels": LABELS, "threshold": 0}

    def send(server: Server) -> None:
        with connected(server) as connection:
            while not stop.is_set():
                image = io.BytesIO()
                make_image(next(numbers), seed=seed).save(image, "PNG")
                request = upload("/v1/instances", image.getvalue(), asked)
                status, said = post(connection, request)
                if status != 200:
                    raise ValueError(f"the server answered with {status}: {said.decode()}")

    options = ("--runtime", "onnx", "--threads", "1", *_BOUNDS)
    with serving(model, *options) as server, ThreadPoolExecutor(_CLIENTS) as pool:
        process, start = psutil.Process(server.pid), time.monotonic()
        clients = [pool.submit(send, server) for _ in range(_CLIENTS)]
        try:
            while (over := (time.monotonic() - start) / 60) < minutes:
                if any(client.done() for client in clients):
                    break
                if over >= WARM_UP * minutes:
                    yield take_sample(process, at=over, with_children=True)
                time.sleep(60 * minutes / SAMPLES)
        finally:
            stop.set()
        for client in clients:
            client.result()
