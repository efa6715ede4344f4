"""performance.json as Markdown: the page's tables, and the README's one table of them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality.report import NONE
from benchmarks.speed.bars import Target, targets
from benchmarks.speed.published_record import EncoderTime, Performance
from benchmarks.speed.published_subjects import (
    BEST,
    BEST_RUN,
    ONNX_FP32,
    SAM_CLIP_ONNX,
    SAM_CLIP_TORCH,
)
from benchmarks.speed.report import describe_hardware, megabytes, milliseconds
from benchmarks.speed.report import render as render_latency

_COMPARED = {
    BEST: "one model, OpenVINO in int8",
    ONNX_FP32: "one model, onnxruntime in fp32",
    SAM_CLIP_ONNX: "SAM ViT-B and CLIP ViT-L/14, onnxruntime in fp32",
    SAM_CLIP_TORCH: "SAM ViT-B and CLIP ViT-L/14, torch in fp32",
}
_VERDICTS = {True: "met", False: "**missed**", None: "not measured"}


def render(found: Performance) -> str:
    """All tables, each under a heading."""
    sections = {
        "The bars": _bars(targets(found)),
        "Beside its peers": iter([render_latency(found.latency)]),
        "What the graphs take": _costs(found),
        "The share of the machine": _shares(found),
        "Resolution and threads": _encoders(found),
        "Prompts": _prompts(found),
        "samclip-tiny": _tiny(found),
    }
    return "\n".join(
        line for title, lines in sections.items() for line in (f"## {title}", "", *lines, "")
    )


def render_summary(found: Performance) -> str:
    """The three-way workload of one model beside two, as the README has it."""
    latency = found.latency
    rows = {key: latency.subject(key) for key in _COMPARED}
    best = rows[BEST] and rows[BEST].workload("three_ways")
    lines = ["| | time | peak memory, MB | files, MB |", "|---|---:|---:|---:|"]
    for key, name in _COMPARED.items():
        row = rows[key]
        whole = row and row.workload("three_ways")
        if row is None or whole is None:
            lines.append(f"| {name} | not measured | {NONE} | {NONE} |")
            continue
        times = "" if best is None else f" ({whole.warm.p50_ms / best.warm.p50_ms:.1f}×)"
        cells = [f"{whole.warm.p50_ms / 1000:.1f} s{times}"]
        cells += [megabytes(row.peak_rss_bytes), megabytes(row.artifact_bytes)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    environment = latency.environment
    lines += [
        "",
        f"{describe_hardware(latency.device)}, {environment.date[:10]}. Measured by "
        f"`{environment.command}`.",
        "",
    ]
    return "\n".join(lines)


def _bars(rows: list[Target]) -> Iterator[str]:
    yield "| | bar | measured | |"
    yield "|---|---|---:|---|"
    for row in rows:
        yield f"| {row.name} | {row.bar} | {row.found or NONE} | {_VERDICTS[row.met]} |"


def _costs(found: Performance) -> Iterator[str]:
    yield "| ViT-B's | GFLOP with weights | of attention | MB moved at least, fp32 | int8 |"
    yield "|---|---:|---:|---:|---:|"
    for row in found.costs:
        fp32, int8 = (row.moved_bytes[each] / 1e6 for each in ("fp32", "int8"))
        yield (
            f"| {row.graph} | {row.weight_gflop:.2f} | {row.attention_gflop:.2f} | {fp32:.0f} | "
            f"{int8:.0f} |"
        )
    yield ""
    yield (
        "Of one run, with one text, or one prompt of one point. Counted on the exported modules: "
        "products and convolutions, a multiplication and an addition being two; the weights, what "
        "goes in and what comes out."
    )


def _shares(found: Performance) -> Iterator[str]:
    yield (
        "| graph of ViT-B | on | attention in | ms | GFLOP/s | of the matrix peak | "
        "of the limit | bound by |"
    )
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for row in found.shares:
        yield (
            f"| {row.graph} | {row.runtime} {row.precision} | {row.attention} | {row.ms:.1f} | "
            f"{row.gflops:.0f} | {row.of_peak:.0%} | {row.of_limit:.0%} | {row.bound} |"
        )
    machine = found.machine
    peaks = ", ".join(
        f"{each.gflops:.0f} GFLOP/s in {each.precision} ({each.engine}, {each.size} x {each.size})"
        for each in machine.peaks
    )
    yield ""
    yield (
        f"Peaks with {machine.threads} threads: {peaks}; a copy moves {machine.bandwidth_gbps:.1f} "
        "GB/s, read and written. The graphs' times are those of the three-way workload above, the "
        "median of the subjects that run them. The matrix peak is that of the weights' precision; "
        "the limit takes attention at the peak of the precision that it is computed in."
    )


def _encoders(found: Performance) -> Iterator[str]:
    most = max(each.threads for each in found.encoders)
    by_run: dict[str, list[EncoderTime]] = {}
    for each in found.encoders:
        by_run.setdefault(f"{each.runtime} {each.precision}", []).append(each)
    sizes = sorted({each.resolution for each in found.encoders})
    fewer = sorted({each.threads for each in found.encoders} - {most})
    columns = [f"{size} px" for size in sizes]
    columns += [f"{sizes[-1]} px, {count} threads" for count in fewer]
    yield f"| image encoder, {most} threads, ms | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for run, rows in by_run.items():
        times = {(each.resolution, each.threads): each.ms for each in rows}
        wanted = [*((size, most) for size in sizes), *((sizes[-1], count) for count in fewer)]
        cells = [milliseconds(times[each]) if each in times else NONE for each in wanted]
        yield f"| {run} | " + " | ".join(cells) + " |"


def _prompts(found: Performance) -> Iterator[str]:
    if not found.prompts:
        yield f"Not measured: {' '.join(BEST_RUN)} does not run here."
        return
    yield (
        "| box prompts on an encoded picture | "
        + " | ".join(str(each.prompts) for each in found.prompts)
        + " |"
    )
    yield "|---|" + "---:|" * len(found.prompts)
    times = [milliseconds(each.ms) for each in found.prompts]
    yield f"| ViT-B, {' '.join(BEST_RUN)}, ms | " + " | ".join(times) + " |"


def _tiny(found: Performance) -> Iterator[str]:
    yield "| samclip-tiny on | text-to-mask of one label, images/s | mean mask IoU with torch |"
    yield "|---|---:|---:|"
    for run, speed in found.tiny_images_per_s.items():
        iou = found.tiny_iou.get(run)
        yield f"| {run} | {speed:.1f} | {NONE if iou is None else f'{iou:.4f}'} |"
