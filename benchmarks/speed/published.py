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

from benchmarks.speed.peaks import measure_peaks
from benchmarks.speed.record import (
    Cost,
    Machine,
    MachineShare,
    Speed,
    Spread,
    Startup,
    SubjectRow,
)
from benchmarks.speed.roofline import count_graphs, shares_of_machine
from benchmarks.speed.subject_list import RESOLUTIONS, RUNS, TINY, VIT_B
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

Say = Callable[[str], None]


def prepare_bundle(folder: Path, *, everything: bool, say: Say) -> None:
    """Exports ViT-B with random weights, unless the folder has it already.

    Args:
        folder: of the bundle.
        everything: whether graphs at all `RESOLUTIONS` are needed, and not at the two tasks' alone.
        say: told what is being done.
    """
    if (folder / MANIFEST_NAME).is_file() and (not everything or _has_all(folder)):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=RESOLUTIONS if everything else ()),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}, {done} of {total}"),
    )


def _has_all(folder: Path) -> bool:
    graphs = open_bundle(folder).manifest.graphs
    return all(f"image_encoder@{resolution}" in graphs for resolution in RESOLUTIONS)


def verify_sets(vit_b: Path, *, runs: Sequence[tuple[str, str]], say: Say) -> dict[str, float]:
    """Verifies and signs off every set that is measured, if it runs here.

    Returns:
        By "runtime precision" of those that do, the lower mean IoU of samclip-tiny's masks with
        eager torch.

    Raises:
        VerificationError: one fails.
    """
    iou = {}
    for model in (vit_b, TINY):
        for runtime, precision in runs:
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


def add_machine(speed: Speed, *, vit_b: Path, say: Say) -> Speed:
    """The same with the machine's peaks, what the graphs reach of them, and the start-up."""
    say("measuring the machine's peaks")
    machine = measure_peaks(threads=speed.device.usable_cores or speed.device.cores)
    manifest = open_bundle(vit_b).manifest
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    say("starting up")
    found = {
        "machine": machine,
        "costs": tuple(costs),
        "shares": tuple(shares_of_sets(speed.subjects, costs=costs, machine=machine)),
        "startup": measure_startup(),
    }
    return speed.model_copy(update=found)


def shares_of_sets(
    subjects: Sequence[SubjectRow], *, costs: Sequence[Cost], machine: Machine
) -> Iterator[MachineShare]:
    """What the graphs that run once in the three-way workload reach of the machine, in each run.

    Subjects that differ in their labels alone run the same graphs: the median of theirs counts.
    """
    for runtime, precision in RUNS:
        steps = [
            row.steps for row in subjects if row.key.startswith(f"{VIT_B}-{runtime}-{precision}")
        ]
        found = {
            name: [each[name].spread for each in steps if name in each]
            for name in ("image_encoder", "clip_head")
        }
        times = {name: pool(spreads) for name, spreads in found.items() if spreads}
        if times and precision in machine.best():
            yield from shares_of_machine(
                costs,
                times,
                machine=machine,
                runtime=runtime,
                precision=precision,
                attention=float_precision(runtime, precision),
            )


def pool(spreads: Sequence[Spread]) -> Spread:
    """The median of medians, between the least and the greatest of all limits."""
    lows, highs = [each.low_ms for each in spreads], [each.high_ms for each in spreads]
    return Spread(
        p50_ms=median(each.p50_ms for each in spreads),
        low_ms=min((each for each in lows if each is not None), default=None),
        high_ms=max((each for each in highs if each is not None), default=None),
    )


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"


def measure_startup() -> Startup:
    """Imports and loads in fresh processes, after one that fills the system's file cache."""
    seconds, peaks = [], []
    for _ in range(1 + _STARTUP_RUNS):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _LOAD], check=True, capture_output=True, text=True
        )
        seconds.append(round(time.perf_counter() - start, 3))
        peaks += [int(done.stdout)] if done.stdout.strip() else []
    return Startup(seconds=tuple(seconds[1:]), peak_rss_bytes=max(peaks, default=None))
