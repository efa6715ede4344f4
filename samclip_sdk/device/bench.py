"""Measures a model's speed and memory on this device; see `samclip bench`."""

from __future__ import annotations

import math
import os
import platform
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.device.bench_workloads import PRESENT, Workloads, check_label_count, steps_ms
from samclip_sdk.device.opening import open_source
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import (
    OptionError,
    UnknownWordWarning,
    UnverifiedArtifactWarning,
    VerificationError,
)
from samclip_sdk.image.loading import ImageSource, load_image
from samclip_sdk.runtimes.artifact_sets import find_set, graph_files
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.runtimes.versions import installed_versions
from samclip_sdk.system.hardware import cpu_name
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.records import Record
from samclip_sdk.system.timing import (
    PeakMemory,
    Timing,
    elapsed_ms,
    repeat,
    summarize_steps,
    time_workload,
    utc_now,
)

_MORE = 2  # parts of a benchmark after the workloads: the steps and the texts
_FEWEST_TEXTS = 10
_FEWEST_LABELS = 3  # a real text tower takes seconds for one label

IMAGE_PX = (1024, 683)
"""Width and height of the noise image that is used if no image is given."""


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to be measured.

    Attributes:
        engine: the model's engine.
        verified: whether `samclip verify` has passed for these artifacts on this device; True for
            a checkpoint, because artifacts are compared with it.
        has_text_encoder: whether it can embed texts.
        artifact_bytes: the total size of its files, each counted once.
        threads: the number of threads given to the runtime; 0 leaves the choice to the runtime.
    """

    engine: Engine
    verified: bool
    has_text_encoder: bool
    artifact_bytes: int
    threads: int


class WorkloadTiming(Record):
    """A workload's times.

    Attributes:
        first_ms: the time of the first run, which also opens the graphs that no run before it
            needed.
        images_per_s: images per second, one at a time: 1000 divided by the mean time.
        warm: the times of the runs after the warm-up.
        peak_rss_bytes: the process's peak memory during these runs; None if the system does not
            report it.
    """

    first_ms: float
    images_per_s: float
    warm: Timing
    peak_rss_bytes: int | None


class BenchReport(Record):
    """The report of `bench_model`.

    Attributes:
        name: the model's name.
        revision: the revision of its weights.
        random_weights: whether the weights are random.
        runtime: the runtime it ran on.
        precision: the precision of its artifacts.
        verified: whether `samclip verify` has passed for these artifacts on this device.
        artifact_bytes: the total size of the files that were loaded.
        image_px: width and height of the image.
        label_count: the number of labels given to text-to-mask; three of them were present.
        device: the system and its processor.
        threads: the number of threads given to the runtime; 0 leaves the choice to the runtime.
        versions: package -> version.
        date: ISO 8601, UTC.
        load_ms: the time to open and verify the files, which may be in the system's file cache;
            with "auto" it includes the choice.
        workloads: the times of each workload, by name.
        steps: the times of each step of `three_ways`, by name; the label embeddings are in memory
            already.
        texts: the times of embedding a text: `text` for a plain text, `label computed` for a label
            in the model's templates, `label cached` for a label read from the disk, as in a later
            process. Empty for a model without a text encoder.
        peak_rss_bytes: the process's peak memory, loading included.
    """

    name: str
    revision: str
    random_weights: bool
    runtime: str
    precision: str
    verified: bool
    artifact_bytes: int
    image_px: tuple[int, int]
    label_count: int
    device: str
    threads: int
    versions: dict[str, str]
    date: str
    load_ms: float
    workloads: dict[str, WorkloadTiming]
    steps: dict[str, Timing]
    texts: dict[str, Timing]
    peak_rss_bytes: int | None


def open_model(
    model: str | os.PathLike[str],
    *,
    runtime: str = "auto",
    precision: str | None = None,
    public_key: str | os.PathLike[str] | None = None,
    options: RuntimeOptions = DEFAULT_OPTIONS,
    unverified: bool = False,
) -> OpenedModel:
    """Opens a model to be timed; refuses one that is not verified, unless the caller allows it.

    Args:
        model: a bundle's folder, .zip or name, a repository of a hub, or a checkpoint folder.
        runtime: as for `SamClip.load`.
        precision: the artifacts' precision; the bundle's preferred one if None.
        public_key: the key that must have signed the bundle, see `open_bundle`.
        options: the runtime's options.
        unverified: open it even if `samclip verify` has not passed for these artifacts here.

    Raises:
        VerificationError: `samclip verify` has not passed, and `unverified` is not set.
        RuntimeMissingError: the runtime is not installed.
        BundleError: the model cannot be opened.
    """
    with warnings.catch_warnings():
        # An unverified model is refused below, or the report says it.
        warnings.simplefilter("ignore", UnverifiedArtifactWarning)
        source = open_source(
            runtime, model=model, precision=precision, public_key=public_key, options=options
        )
    if not isinstance(source, BundleSource):
        return OpenedModel(
            Engine(source),
            verified=True,
            has_text_encoder=True,
            artifact_bytes=_checkpoint_bytes(Path(model)),
            threads=options.threads,
        )
    verified = source.verified
    if not verified and not unverified:
        raise VerificationError(
            f"{source.runtime} {source.precision} of {source.manifest.name} was never verified on "
            f"this device: run `{source.verify_command}` first, or time it with "
            "--unverified (unverified=True)"
        )
    return OpenedModel(
        engine=Engine(source),
        verified=verified,
        has_text_encoder="text_encoder" in source.bundle.manifest.graphs,
        artifact_bytes=_artifact_bytes(source),
        threads=options.threads,
    )


def bench_model(
    opening: Callable[[], OpenedModel],
    *,
    image: ImageSource | None = None,
    label_count: int = len(PRESENT),
    seconds: float = 3.0,
    on_progress: OnProgress = no_progress,
) -> BenchReport:
    """Times a model in this process.

    In a fresh process, the first runs and the peak memory are those of an app.

    Args:
        opening: opens the model, such as `open_model` with its arguments; this is timed, too.
        image: the input image; with a path, reading and decoding are timed too; noise of
            `IMAGE_PX` if None.
        label_count: the number of labels given to text-to-mask; three of them are present.
        seconds: the time for each workload after a warm-up; at least three runs are made.
        on_progress: called before each workload, and before the steps and the texts.

    Raises:
        ImageError: the image cannot be used.
        OptionError: the number of labels or seconds is out of range.
        SamClipError: the model cannot be opened, see `open_model`.
    """
    _check(label_count, seconds=seconds)
    chosen_image = _noise() if image is None else image
    height_px, width_px = load_image(chosen_image).shape[:2]
    memory, start = PeakMemory(), time.perf_counter()
    opened = opening()
    load_ms = 1000 * (time.perf_counter() - start)
    with closing(opened.engine) as engine:
        workloads = Workloads(
            engine,
            image=chosen_image,
            label_count=label_count,
            text_encoder=opened.has_text_encoder,
        )
        timed, steps, texts = _time_all(
            workloads, opened, memory=memory, seconds=seconds, on_progress=on_progress
        )
    return BenchReport(
        **_facts(opened),
        image_px=(width_px, height_px),
        label_count=label_count,
        device=f"{platform.platform()}, {cpu_name()}",
        threads=opened.threads,
        versions=installed_versions(),
        date=utc_now(),
        load_ms=round(load_ms, 3),
        workloads=timed,
        steps=steps,
        texts=texts,
        peak_rss_bytes=memory.overall_bytes(),
    )


def _facts(opened: OpenedModel) -> dict[str, Any]:
    """What a report says of the model."""
    manifest, source = opened.engine.manifest, opened.engine.source
    return {
        "name": manifest.name,
        "revision": manifest.revision,
        "random_weights": manifest.random_weights,
        "runtime": source.runtime,
        "precision": source.precision,
        "verified": opened.verified,
        "artifact_bytes": opened.artifact_bytes,
    }


def _check(label_count: int, *, seconds: float) -> None:
    check_label_count(label_count)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise OptionError(f"seconds is {seconds}; give a number from 0")


def _noise() -> NDArray[np.uint8]:
    width_px, height_px = IMAGE_PX
    return np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def _time_all(
    workloads: Workloads,
    opened: OpenedModel,
    *,
    memory: PeakMemory,
    seconds: float,
    on_progress: OnProgress,
) -> tuple[dict[str, WorkloadTiming], dict[str, Timing], dict[str, Timing]]:
    """The times of the workloads, of the steps and of texts, if the model embeds any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordWarning)  # of labels that are made up
        timed = _time_workloads(workloads, memory=memory, seconds=seconds, on_progress=on_progress)
        on_progress("timing the steps", len(timed), len(timed) + _MORE)
        steps = summarize_steps(repeat(partial(steps_ms, workloads), seconds=seconds))
        on_progress("timing texts", len(timed) + 1, len(timed) + _MORE)
        texts = _time_texts(workloads, seconds=seconds) if opened.has_text_encoder else {}
    return timed, steps, texts


def _time_workloads(
    workloads: Workloads,
    *,
    memory: PeakMemory,
    seconds: float,
    on_progress: OnProgress,
) -> dict[str, WorkloadTiming]:
    timed = {}
    named = workloads.by_name()
    for index, (name, workload) in enumerate(named.items()):
        on_progress(f"timing {name}", index, len(named) + _MORE)
        run = partial(elapsed_ms, workload)
        runs = time_workload(run, memory=memory, seconds=seconds)
        warm = Timing.of(runs.samples_ms)
        timed[name] = WorkloadTiming(
            first_ms=runs.first_ms,
            images_per_s=round(1000 / warm.mean_ms, 3),
            warm=warm,
            peak_rss_bytes=runs.peak_rss_bytes,
        )
    return timed


def _time_texts(workloads: Workloads, *, seconds: float) -> dict[str, Timing]:
    new_text = partial(elapsed_ms, workloads.new_text)
    samples = {
        "text": repeat(new_text, seconds=seconds, min_runs=_FEWEST_TEXTS),
        "label computed": repeat(workloads.new_label_ms, seconds=seconds, min_runs=_FEWEST_LABELS),
    }
    with workloads.stored_label() as read:
        cached = partial(elapsed_ms, read)
        samples["label cached"] = repeat(cached, seconds=seconds, min_runs=_FEWEST_TEXTS)
    return {name: Timing.of(each) for name, each in samples.items()}


def _checkpoint_bytes(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


def _artifact_bytes(source: BundleSource) -> int:
    """The total size of the files that this runtime loads a bundle's graphs from."""
    own = find_set(source.bundle, runtime=source.runtime, precision=source.precision)
    files = graph_files(source.bundle.manifest, runtime_set=own)
    return sum(each.size_bytes for each in files)
