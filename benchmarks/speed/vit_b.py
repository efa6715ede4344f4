"""The measurement of a ViT-B at 1024 px: its subjects, and how much of the machine they use.

Its weights are random, since weights change no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed import published, record
from benchmarks.speed.machine import count_graphs, measure_peaks, share_of_machine
from benchmarks.speed.published import Measure, Run, Say
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.openvino import computes_bf16


def measure_vit_b(
    folder: Path, *, measure: Measure, cores: int, say: Say, tell: Say
) -> dict[str, Any]:
    """The fields of ViT-B's record that are its own.

    Args:
        folder: of the bundle, or it is exported there.
        measure: measures subjects.
        cores: so many threads are the most.
        say: is told what is done.
        tell: see `published.verify_sets`.
    """
    vit_b = folder / published.VIT_B
    prepare_bundle(vit_b, say=say)
    reports, unverified = published.verify_sets(vit_b, published.find_runs(), say=say, tell=tell)
    runs = tuple(reports)
    subjects, failures = measure(published.vit_b_specs(vit_b, runs))
    threads = range(1, 1 + cores)
    series, others = measure(tuple(published.series_specs(vit_b, runs, threads=threads)))
    say("measuring the machine's peaks")
    machine, manifest = measure_peaks(threads=cores), open_bundle(vit_b).manifest
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    return {
        "subjects": subjects,
        "failures": (*unverified, *failures, *others),
        "series": tuple(
            record.SeriesPoint(subject=row.key, workload=each.workload, spread=each.spread)
            for row in series
            for each in row.workloads
        ),
        "machine": machine,
        "costs": tuple(costs),
        "shares": tuple(shares_of_sets(subjects, runs=runs, costs=costs, machine=machine)),
    }


def prepare_bundle(folder: Path, *, say: Say) -> None:
    """Exports ViT-B with random weights at all resolutions, if the folder does not have it."""
    if (folder / MANIFEST_NAME).is_file():
        graphs = open_bundle(folder).manifest.graphs
        if all(f"image_encoder@{each}" in graphs for each in published.RESOLUTIONS):
            return
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=published.RESOLUTIONS),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}, {done} of {total}"),
    )


def shares_of_sets(
    subjects: Sequence[record.SubjectRow],
    *,
    runs: Sequence[Run],
    costs: Sequence[record.Cost],
    machine: record.Machine,
) -> Iterator[record.MachineShare]:
    """What the graphs that run once in the three-way workload reach of the machine, in each run.

    Subjects that differ in their labels alone run the same graphs: the median of theirs counts.
    """
    for runtime, precision in runs:
        key, best = f"{published.VIT_B}-{runtime}-{precision}", machine.best()
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
