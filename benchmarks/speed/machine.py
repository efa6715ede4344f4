"""Measures what docs/performance.md tells beside the subjects: the machine, sizes, start-up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.speed.peaks import MachinePeaks, measure_peaks
from benchmarks.speed.published_record import (
    Cost,
    EncoderTime,
    Machine,
    Peak,
    Performance,
    PromptTime,
    Share,
    Startup,
)
from benchmarks.speed.published_subjects import BEST_RUN, RUNS, TINY, VIT_B
from benchmarks.speed.roofline import GraphCost, count_graphs, roofline
from benchmarks.speed.schema import Latency
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk import SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.model_source import BundleSource
from samclip_sdk.runtimes.openvino import computes_bf16
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.timing import Timing, elapsed_ms, repeat
from samclip_sdk.verify.verify import verify_bundle

RESOLUTIONS = (224, 336, 448, 672, 1024)
PROMPTS = (1, 8, 16, 50, 150)

_MASK_IOU = ("box_mask_iou", "text_mask_iou")
_STARTUP_RUNS = 5
_LOAD = """
from samclip_sdk import SamClip
SamClip.load("onnx")
from samclip_sdk.timing import peak_rss_bytes
print(peak_rss_bytes() or "")
"""

Say = Callable[[str], None]


def prepare_bundle(folder: Path, *, say: Say) -> None:
    """Exports ViT-B with random weights, unless the folder has it already."""
    if (folder / MANIFEST_NAME).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=RESOLUTIONS),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}"),
    )


def verify_all(vit_b: Path, *, say: Say) -> dict[str, float]:
    """Verifies and signs off every set that is measured, if it runs here.

    Returns:
        By "runtime precision" of those that do, the lower mean IoU of samclip-tiny's masks with
        eager torch.

    Raises:
        VerificationError: one fails.
    """
    iou = {}
    for model in (vit_b, TINY):
        for runtime, precision in RUNS:
            say(f"verifying {Path(model).name} on {runtime} in {precision}")
            try:
                report = verify_bundle(model, runtime=runtime, precision=precision)
            except RuntimeMissingError:
                continue  # The subject will fail with the reason, and the page tells it.
            report.sign_off()
            if model == TINY:
                iou[f"{runtime} {precision}"] = min(
                    1 - check.error
                    for check in report.checks
                    if any(name in check.name for name in _MASK_IOU)
                )
    return iou


def measure_machine(threads: int) -> tuple[MachinePeaks, Machine]:
    """The machine's peaks."""
    found = measure_peaks(threads=threads)
    peaks = tuple(
        Peak(precision=each.precision, engine=each.engine, size=each.size, gflops=each.gflops)
        for each in found.matrix.values()
    )
    return found, Machine(threads=threads, peaks=peaks, bandwidth_gbps=found.bandwidth_gbps)


def costs_of(costs: Sequence[GraphCost]) -> Iterator[Cost]:
    """What each graph takes, in every precision that is measured."""
    for each in costs:
        yield Cost(
            graph=each.graph,
            weight_gflop=each.weight_flop / 1e9,
            attention_gflop=each.attention_flop / 1e9,
            moved_bytes={
                precision: each.moved_bytes(precision) for precision in ("fp32", "bf16", "int8")
            },
        )


def shares_of(
    latency: Latency, *, costs: Sequence[GraphCost], peaks: MachinePeaks
) -> Iterator[Share]:
    """What the graphs that run once in the three-way workload reach of the machine, in each run.

    Subjects that differ in their labels alone run the same graphs: the median of theirs counts.
    """
    for runtime, precision in RUNS:
        of_set = f"{VIT_B}-{runtime}-{precision}"
        steps = [row.steps for row in latency.subjects if row.key.startswith(of_set)]
        samples = {
            name: [each[name].p50_ms for each in steps if name in each]
            for name in ("image_encoder", "clip_head")
        }
        times = {name: median(found) for name, found in samples.items() if found}
        if not times or precision not in peaks.matrix:
            continue
        attention = float_precision(runtime, precision)
        for each in roofline(costs, times, machine=peaks, precision=precision, attention=attention):
            yield Share(
                runtime=runtime,
                precision=precision,
                attention=attention,
                graph=each.cost.graph,
                ms=each.ms,
                gflops=each.gflops,
                of_peak=each.of_peak,
                of_limit=each.of_limit,
                bound=each.bound,
            )


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"


def encoder_times(
    vit_b: Path, *, runs: Sequence[tuple[str, str]], threads: Sequence[int], say: Say
) -> Iterator[EncoderTime]:
    """The image encoder at every resolution, and at the largest with every number of threads."""
    bundle = open_bundle(vit_b)
    for runtime, precision in runs:
        for count in threads:
            source = BundleSource(
                bundle,
                runtime=runtime,
                precision=precision,
                options=RuntimeOptions(threads=count),
            )
            for resolution in RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:]:
                say(f"image encoder at {resolution} px, {runtime} {precision}, {count} threads")
                session = source.session(graph_key("image_encoder", resolution))
                feed = {"image": np.zeros((1, 3, resolution, resolution), dtype=np.uint8)}
                samples = _warm(partial(session.run, feed))
                session.close()
                yield EncoderTime(
                    runtime=runtime,
                    precision=precision,
                    threads=count,
                    resolution=resolution,
                    ms=Timing.of(samples).p50_ms,
                )


def prompt_times(vit_b: Path, *, say: Say) -> Iterator[PromptTime]:
    """Box prompts on a picture that is encoded, one mask each, from one to many."""
    picture = np.random.default_rng(0).integers(0, 256, (683, 1024, 3)).astype(np.uint8)
    runtime, precision = BEST_RUN
    with SamClip.load(runtime, model=vit_b, precision=precision) as model:
        image = model.encode_image(picture)
        for count in PROMPTS:
            say(f"{count} box prompts, {runtime} {precision}")
            boxes = [[index, index, index + 300, index + 200] for index in range(count)]
            samples = _warm(partial(model.segment, image, boxes=boxes, multimask_output=False))
            yield PromptTime(prompts=count, ms=Timing.of(samples).p50_ms)


def measure_startup() -> Startup:
    """Imports and loads in fresh processes; the fastest counts, and the most memory."""
    seconds, peaks = [], []
    for _ in range(_STARTUP_RUNS):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _LOAD], check=True, capture_output=True, text=True
        )
        seconds.append(time.perf_counter() - start)
        peaks += [int(done.stdout)] if done.stdout.strip() else []
    return Startup(seconds=min(seconds), peak_rss_bytes=max(peaks, default=None))


def tiny_speed(runs: Sequence[tuple[str, str]], *, say: Say) -> dict[str, float]:
    """Images a second of text-to-mask of one label that is present, from a picture in memory."""
    picture = np.random.default_rng(0).integers(0, 256, (683, 1024, 3)).astype(np.uint8)
    found = {}
    for runtime, precision in runs:
        say(f"samclip-tiny, one label, {runtime} {precision}")
        with SamClip.load(runtime, model=TINY, precision=precision) as model:
            samples = _warm(partial(model.segment_text, picture, ["dog"], threshold=0.0))
        found[f"{runtime} {precision}"] = 1000 / Timing.of(samples).p50_ms
    return found


def measure(
    latency: Latency, *, vit_b: Path, tiny_iou: dict[str, float], threads: int, say: Say
) -> Performance:
    """All that the subjects' own times do not tell."""
    say("measuring the machine's peaks")
    peaks, machine = measure_machine(threads)
    runs = [run for run in RUNS if " ".join(run) in tiny_iou]
    manifest = open_bundle(vit_b).manifest
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    best = prompt_times(vit_b, say=say) if BEST_RUN in runs else ()
    return Performance(
        latency=latency,
        machine=machine,
        costs=tuple(costs_of(costs)),
        shares=tuple(shares_of(latency, costs=costs, peaks=peaks)),
        encoders=tuple(encoder_times(vit_b, runs=runs, threads=range(1, threads + 1), say=say)),
        prompts=tuple(best),
        startup=measure_startup(),
        tiny_iou=tiny_iou,
        tiny_images_per_s=tiny_speed(runs, say=say),
    )


def _warm(work: Callable[[], object]) -> list[float]:
    work()
    return repeat(lambda: elapsed_ms(work), seconds=1.0, at_least=2, at_most=100)
