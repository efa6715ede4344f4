"""The published measurement: its subjects, and what it tells beside their times.

It takes a ViT-B of random weights at 1024 px, since weights change no time, and times nothing that
does not pass `samclip verify`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed import record, subject
from benchmarks.speed.machine import count_graphs, measure_peaks, share_of_machine
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.openvino import computes_bf16
from samclip_sdk.verify.verify import verify_bundle

_MASK_IOU = ("box_mask_iou", "text_mask_iou")
_STARTUP_RUNS = 10
_LOAD = """
from samclip_sdk import SamClip
SamClip.load("onnx")
from samclip_sdk.timing import peak_rss_bytes
print(peak_rss_bytes() or "")
"""

Measured = tuple[Sequence[record.SubjectRow], Sequence[record.Failure]]
Say = Callable[[str], None]
"""Told what is being done."""


def measure_published(
    folder: Path,
    *,
    measure: Callable[[Sequence[str]], Measured],
    everything: bool,
    cores: int,
    say: Say,
) -> dict[str, Any]:
    """The fields of a record that hold what the page shows, or of that what the bars compare."""
    vit_b = folder / subject.VIT_B
    prepare_bundle(vit_b, everything=everything, say=say)
    tiny_iou = verify_sets(vit_b, runs=subject.RUNS if everything else subject.FEW_RUNS, say=say)
    subjects, failures = measure(subject.main_specs(vit_b, everything=everything))
    threads = range(1, 1 + cores)
    series, others = measure(subject.series_specs(vit_b, threads=threads, everything=everything))
    say("measuring the machine's peaks")
    machine, manifest = measure_peaks(threads=cores), open_bundle(vit_b).manifest
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    say("starting up")
    return {
        "subjects": subjects,
        "failures": (*failures, *others),
        "series": tuple(
            record.SeriesPoint(subject=row.key, workload=each.workload, spread=each.spread)
            for row in series
            for each in row.workloads
        ),
        "machine": machine,
        "costs": tuple(costs),
        "shares": tuple(shares_of_sets(subjects, costs=costs, machine=machine)),
        "startup": measure_startup(),
        "tiny_iou": tiny_iou,
    }


def prepare_bundle(folder: Path, *, everything: bool, say: Say) -> None:
    """Exports ViT-B with random weights, of everything at all `RESOLUTIONS`.

    Not if the folder has it already.
    """
    if (folder / MANIFEST_NAME).is_file():
        graphs = open_bundle(folder).manifest.graphs
        if not everything or all(f"image_encoder@{each}" in graphs for each in subject.RESOLUTIONS):
            return
    folder.parent.mkdir(parents=True, exist_ok=True)
    resolutions = subject.RESOLUTIONS if everything else ()
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=resolutions),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}, {done} of {total}"),
    )


def verify_sets(vit_b: Path, *, runs: Sequence[tuple[str, str]], say: Say) -> dict[str, float]:
    """Verifies and signs off every set that is measured, if it runs here.

    Returns:
        By "runtime precision" of those that do, the lower mean IoU of samclip-tiny's masks with
        eager torch.

    Raises:
        VerificationError: one fails.
    """
    iou = {}
    for model in (vit_b, subject.TINY):
        for runtime, precision in runs:
            say(f"verifying {Path(model).name} on {runtime} in {precision}")
            try:
                report = verify_bundle(model, runtime=runtime, precision=precision)
            except RuntimeMissingError:
                continue  # The subject will fail with the reason, and the page tells it.
            report.sign_off()
            if model == subject.TINY:
                masks = [
                    1 - each.error
                    for each in report.checks
                    if any(name in each.name for name in _MASK_IOU)
                ]
                iou[f"{runtime} {precision}"] = min(masks)
    return iou


def shares_of_sets(
    subjects: Sequence[record.SubjectRow], *, costs: Sequence[record.Cost], machine: record.Machine
) -> Iterator[record.MachineShare]:
    """What the graphs that run once in the three-way workload reach of the machine, in each run.

    Subjects that differ in their labels alone run the same graphs: the median of theirs counts.
    """
    for runtime, precision in subject.RUNS:
        key, best = f"{subject.VIT_B}-{runtime}-{precision}", machine.best()
        steps = [row.steps for row in subjects if row.key.startswith(key)]
        for cost in costs:
            spreads = [each[cost.graph].spread for each in steps if cost.graph in each]
            if cost.graph in ("image_encoder", "clip_head") and spreads and precision in best:
                yield share_of_machine(
                    cost,
                    pool(spreads),
                    machine=machine,
                    runtime=runtime,
                    precision=precision,
                    attention=float_precision(runtime, precision),
                )


def pool(spreads: Sequence[record.Spread]) -> record.Spread:
    """The median of medians, between the least and the greatest of all limits."""
    lows = [each.low_ms for each in spreads if each.low_ms is not None]
    highs = [each.high_ms for each in spreads if each.high_ms is not None]
    low, high = min(lows, default=None), max(highs, default=None)
    return record.Spread(p50_ms=median(each.p50_ms for each in spreads), low_ms=low, high_ms=high)


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"


def measure_startup() -> record.Startup:
    """Imports and loads in fresh processes, after one that fills the system's file cache."""
    command, seconds, peaks = [sys.executable, "-c", _LOAD], [], []
    for _ in range(1 + _STARTUP_RUNS):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(round(time.perf_counter() - start, 3))
        peaks += [int(done.stdout)] if done.stdout.strip() else []
    return record.Startup(seconds=tuple(seconds[1:]), peak_rss_bytes=max(peaks, default=None))
