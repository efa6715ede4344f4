"""A ViT-B at 1024 px, and how much of what this machine can do it uses.

Weights are random, since they change no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.intervals import Estimate
from benchmarks.speed.costs import Cost, count_graphs
from benchmarks.speed.machine_limits import COPY_BYTES
from benchmarks.speed.measure import HowLong, Subject, measure_subjects, summarize
from benchmarks.speed.published import SMALL_PEERS, Run, find_runs, sdk_spec, verify_sets
from benchmarks.suite import Measuring
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.openvino.session import computes_bf16

VIT_B = "samclip-vit-b"
"""The folder of the bundle: its name is that of its subjects."""

BEST_RUN = ("openvino", "int8")
"""The path on a CPU that the bars call the best."""

RESOLUTIONS = (224, 336, 448, 672, 1024)
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
LARGE_PEERS = (
    "sam-onnx-l",
    "sam+openclip-l",
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
)
_ONCE = ("image_encoder", "clip_head")  # graphs that run once in the three-way workload


def vit_b_specs(vit_b: Path, runs: Sequence[Run]) -> tuple[str, ...]:
    """The subjects of ViT-B's table. Those that the bars compare are near one another."""
    return (
        *(f"{sdk_spec(vit_b, BEST_RUN)},labels={count}" for count in (30, 150)),
        *(sdk_spec(vit_b, run) for run in reversed(runs)),
        *LARGE_PEERS,
        *reversed(SMALL_PEERS),
    )


def encoder_spec(spec: str, resolutions: Sequence[int], *, threads: int) -> str:
    """Of a subject of the SDK the image encoder alone, at each resolution in pixels."""
    return f"{spec},skill=encoder,threads={threads},resolutions={'+'.join(map(str, resolutions))}"


def series_specs(vit_b: Path, runs: Sequence[Run], *, threads: Sequence[int]) -> Iterator[str]:
    """Of ViT-B the image encoder by resolution, its largest by threads, and box prompts."""
    for run in runs:
        for count in threads:
            sizes = RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:]
            yield encoder_spec(sdk_spec(vit_b, run), sizes, threads=count)
    yield f"{sdk_spec(vit_b, BEST_RUN)},skill=boxes"


def measure_vit_b(measured: Measuring, folder: Path, *, how: HowLong, cores: int) -> None:
    """ViT-B beside its peers, at most with as many threads as cores, and the machine.

    The bundle is in the folder, or it is exported there.
    """
    vit_b = folder / VIT_B
    if not (vit_b / MANIFEST_NAME).is_file():
        measured.say("exporting ViT-B")
        folder.mkdir(parents=True, exist_ok=True)
        options = ExportOptions(onnx=("fp32", "int8"), resolutions=RESOLUTIONS)
        write_bundle(find_source("random:vit_b"), vit_b, options=options)
    runs = tuple(verify_sets(measured, vit_b, find_runs()))
    specs = (*vit_b_specs(vit_b, runs), *series_specs(vit_b, runs, threads=range(1, 1 + cores)))
    limits = f"benchmarks.speed.machine_limits:MachineLimits,threads={cores}"
    *subjects, machine = measure_subjects(measured, (*specs, limits), how=how)
    for subject in subjects:
        subject.add_to(measured)
    best = add_limits(measured, machine)
    manifest = open_bundle(vit_b).manifest
    attention = {"-".join((VIT_B, *run)): float_precision(*run) for run in runs}
    measured.settings["machine"] = {"threads": cores, "attention": attention}
    for cost in count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution):
        moved = {f"moved_bytes_{each}": cost.moved_bytes(each) for each in ("fp32", "int8")}
        measured.add(cost.graph, "graph", **{**cost._asdict(), "graph": None}, **moved)
        for run in runs if cost.graph in _ONCE else ():
            add_share(measured, cost, subjects, run=run, best=best)


def add_limits(measured: Measuring, machine: Subject) -> dict[str, float]:
    """Gives what each engine does at its fastest; returns the most a second, by precision.

    That is in operations; for "copy" it is in bytes, read and written.
    """
    best: dict[str, float] = {}
    for name, rounds in machine.runs.items():
        seconds = min(min(each.samples_ms) for each in rounds) / 1000
        what, side = name.partition(" ")[0], name.rpartition(" ")[2]
        rate = (2 * COPY_BYTES if what == "copy" else 2 * int(side) ** 3) / seconds
        best[what] = max(rate, best.get(what, 0))
        measured.add("machine", name, **{"gb_per_s" if what == "copy" else "gflops": rate / 1e9})
    return best


def add_share(
    measured: Measuring,
    cost: Cost,
    subjects: Sequence[Subject],
    *,
    run: Run,
    best: dict[str, float],
) -> None:
    """Holds the time of a graph in a run against the most of as many threads.

    The precision is of the graph's weights, and of the products with them; attention has its own.
    Subjects that differ in their labels alone run the same graphs: the median of theirs counts. The
    limit is what peaks allow, with attention at the peak of its own precision.
    """
    key, precision = "-".join((VIT_B, *run)), run[1]
    own = [each.steps.get(cost.graph) for each in subjects if each.name.startswith(key)]
    times = [summarize(rounds)["ms"] for rounds in own if rounds]
    if not times:
        return
    lows, highs = [each.low for each in times], [each.high for each in times]
    ms = Estimate(median(each.value for each in times), min(lows), max(highs))
    peak, slower = best[precision], best[float_precision(*run)]
    measured.add(
        key,
        f"{cost.graph} of the machine",
        ms=ms,
        gflops=cost.flop / ms.value / 1e6,
        of_peak=1000 * cost.flop / peak / ms.value,
        limit_ms=1000 * (cost.weight_flop / peak + cost.attention_flop / slower),
        memory_ms=1000 * cost.moved_bytes(precision) / best["copy"],
    )


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"
