"""What was measured, as Markdown tables for the page and the README, and as a bar chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import add
from statistics import median

from benchmarks.report import (
    BLUE,
    GREY,
    NONE,
    by_size,
    columns,
    encode_figure,
    megabytes,
    new_figure,
    spread,
    table,
    three_digits,
)
from benchmarks.speed import bars, record
from benchmarks.speed.published import CLIPSEG, DEFAULT_ONNX, MOBILE_SAM, YOLOE

_WORDS = {
    "encode": "encode",
    "classify": "classify",
    "point": "point",
    "text3": "text-to-mask",
    bars.TO_MASKS: "picture to masks",
    "three_ways": "all three",
}
_NOTHING = "Nothing was measured yet."
_BARS = ("", "bar", "measured", "verdict")
_COSTS: dict[str, Callable[[record.Cost], str]] = {
    "graph of ViT-B": lambda each: each.graph,
    "GFLOP with weights": lambda each: f"{each.weight_flop / 1e9:.2f}",
    "GFLOP of attention": lambda each: f"{each.attention_flop / 1e9:.2f}",
    "million parameters": lambda each: f"{each.parameters / 1e6:.1f}",
    "MB moved at least, fp32": lambda each: megabytes(each.moved_bytes("fp32")),
    "int8": lambda each: megabytes(each.moved_bytes("int8")),
}
_SHARES: dict[str, Callable[[record.MachineShare], str]] = {
    "graph of ViT-B": lambda each: each.graph,
    "on": lambda each: f"{each.runtime} {each.precision}",
    "attention in": lambda each: each.attention,
    "ms": lambda each: _point(each.spread),
    "GFLOP/s": lambda each: f"{each.gflops:.0f}",
    "of the matrix peak": lambda each: f"{each.of_peak:.0%}",
    "of the limit": lambda each: f"{each.of_limit:.0%}",
    "bound by": lambda each: each.bound,
}


def render_default(speed: record.Speed) -> dict[str, str]:
    """The tables of the default model's page, by name."""
    chart = "![Medians of every subject](images/speed.png)\n\n"
    found = {
        "bars": table(_BARS, bars.default_bars(speed), words=4),
        "subjects": f"{chart}{render_subjects(speed)}" if speed.subjects else _NOTHING,
        "runs": _runs(speed),
    }
    return {name: text + "\n" for name, text in found.items()}


def render_vit_b(speed: record.Speed) -> dict[str, str]:
    """The tables of ViT-B's page, by name."""
    found = {
        "bars": table(_BARS, bars.vit_b_bars(speed), words=4),
        "subjects": render_subjects(speed),
        "costs": columns(speed.costs, _COSTS, words=1),
        "shares": _shares(speed.shares, speed.machine),
        "image_encoder": _series(speed, "image_encoder", what="image encoder, ms", unit=" px"),
        "boxes": _series(speed, "boxes", what="boxes, ms", unit=""),
    }
    return {name: text + "\n" for name, text in found.items()}


def render_summary(speed: record.Speed) -> str:
    """The default model beside its peers, as the README has it."""
    if not speed.subjects:
        return f"{_NOTHING}\n"
    best, rows = bars.best_path(speed), []
    base = None if best is None else best.workload(bars.TO_MASKS)
    ours = [DEFAULT_ONNX] if best is None else dict.fromkeys((best.key, DEFAULT_ONNX))
    asked = [(key, bars.TO_MASKS, "") for key in (*ours, YOLOE, CLIPSEG)]
    for key, workload, what in (*asked, (MOBILE_SAM, "encode", ": its image encoder alone")):
        row = speed.subject(key)
        found = None if row is None else row.workload(workload)
        if row is None or found is None:
            rows.append([f"{key}{what}", "not measured", NONE, NONE, NONE])
            continue
        sizes = (megabytes(row.peak_rss_bytes), megabytes(row.artifact_bytes))
        times = (three_digits(found.warm.p50_ms), _times(found, base))
        rows.append([f"{row.name}, {row.precision}{what}", *times, *sizes])
    environment = speed.environment
    heads = ("", "picture to masks, ms", "times the first's", "peak memory, MB", "files, MB")
    return (
        f"{table(heads, rows)}\n\n{describe_hardware(speed.device)}, {environment.date[:10]}. "
        f"Measured by `{environment.command}`.\n"
    )


def render_subjects(speed: record.Speed) -> str:
    """Every subject at every workload, the steps of ours, and how it was measured."""
    baseline = None if speed.settings.baseline is None else speed.subject(speed.settings.baseline)
    failed = [f"- {each.subject}, {each.at}: failed, {each.reason}" for each in speed.failures]
    names = list(dict.fromkeys(name for row in speed.subjects for name in row.steps))
    steps = [
        [row.key, *(_step(row.steps.get(name)) for name in names)]
        for row in speed.subjects
        if row.steps
    ]
    notes = []
    for row in speed.subjects:
        versions = ", ".join(f"{name} {each}" for name, each in row.package_versions.items())
        notes.append(f"- {row.key}: {row.name}, {row.precision}; {row.notes}; {versions}.")
    parts = (
        _subject_table(speed, baseline=baseline),
        "\n".join(failed),
        table(("all three, step by step, ms", *names), steps) if steps else "",
        "\n".join(notes),
        _footnote(speed, baseline=baseline),
    )
    return "\n\n".join(filter(None, parts))


def _subject_table(speed: record.Speed, *, baseline: record.SubjectRow | None) -> str:
    cells: dict[str, Callable[[record.SubjectRow], str]] = {
        "": lambda row: row.key,
        "precision": lambda row: row.precision,
        **{
            f"{_WORDS[name]}, ms": partial(_cell, name=name, baseline=baseline)
            for name in _shown(speed)
        },
        "load, s": lambda row: f"{median(map(add, row.import_ms, row.load_ms)) / 1000:.2f}",
        "peak MB": lambda row: megabytes(row.peak_rss_bytes),
        "files, MB": lambda row: megabytes(row.artifact_bytes),
    }
    rows = [[cell(row) for cell in cells.values()] for row in speed.subjects]
    for failure in speed.failures:
        if speed.subject(failure.subject) is None:
            rows.append([failure.subject, "failed", *[NONE] * (len(cells) - 2)])
    return table(list(cells), rows, words=2)


def _shown(speed: record.Speed) -> list[str]:
    """The workloads that any subject has."""
    return [name for name in _WORDS if any(row.workload(name) for row in speed.subjects)]


def _cell(row: record.SubjectRow, name: str, *, baseline: record.SubjectRow | None) -> str:
    found = row.workload(name)
    if found is None:
        return NONE
    own = three_digits(found.warm.p50_ms)
    base = None if baseline is None or baseline is row else baseline.workload(name)
    return own if base is None else f"{own}, {_times(found, base)}"


def _times(found: record.WorkloadRow, base: record.WorkloadRow | None) -> str:
    same = base is None or base is found
    return NONE if same else bars.Ratio.of(found.spread, base.spread).text()


def _step(found: record.Times | None) -> str:
    """What a step takes, and from 20 runs on its 90th and 99th percentile."""
    if found is None:
        return NONE
    tails = (three_digits(found.warm.p90_ms), three_digits(found.warm.p99_ms))
    return _point(found.spread) + (f"; {' / '.join(tails)}" if found.warm.p90_ms else "")


def _footnote(speed: record.Speed, *, baseline: record.SubjectRow | None) -> str:
    settings, environment = speed.settings, speed.environment
    ratios = "" if baseline is None else f"Ratios are to {baseline.key}. "
    if baseline is None and settings.baseline is not None:
        ratios = f"The baseline, {settings.baseline}, was not measured. "
    rounds = "1 round" if settings.rounds == 1 else f"{settings.rounds} rounds"
    before, after = (
        "unknown" if state.load_average is None else f"{state.load_average[0]:.2f}"
        for state in (speed.before, speed.after)
    )
    return (
        f"{ratios}{rounds}, the subjects in turn, {settings.seconds:g} s a workload and round, "
        f"{settings.at_least} runs at least. {describe_hardware(speed.device)}; OMP_NUM_THREADS "
        f"{environment.threads or 'unset'}; load average {before} before, {after} after; measured "
        f"on {environment.date[:10]} by `{environment.command}`."
    )


def describe_hardware(device: record.Device) -> str:
    """The processor, its cores, and what else decides about speed."""
    told = [device.told.get(name) for name in ("gpus", "power_mode", "power_source")]
    cores = f"{device.usable_cores or device.cores} cores"
    return ", ".join(filter(None, [device.cpu, cores, *told]))


def _shares(shares: Sequence[record.MachineShare], machine: record.Machine | None) -> str:
    if machine is None:
        return _NOTHING
    peaks = ", ".join(
        f"{each.gflops:.0f} GFLOP/s in {each.precision} ({each.engine}, {each.size} x {each.size})"
        for each in machine.best().values()
    )
    return (
        f"{columns(shares, _SHARES, words=3)}\n\nWith {machine.threads} threads the machine "
        f"reaches at most {peaks}, and a copy moves {machine.bandwidth_gbps:.1f} GB/s, read and "
        "written."
    )


def _series(speed: record.Speed, kind: str, *, what: str, unit: str) -> str:
    """A row for each subject, a column for each size that any was measured at."""
    times: dict[tuple[str, int], str] = {}
    for each in speed.series:
        workload, _, size = each.workload.partition("@")
        if workload == kind:
            times[each.subject, int(size)] = _point(each.spread)
    return by_size(what, times, unit=unit)


def _point(found: record.Spread) -> str:
    return spread(found.p50_ms, found.low_ms, found.high_ms)


def _runs(speed: record.Speed) -> str:
    """The default model on each runtime and in each precision: its speed, and what it keeps."""
    rows = []
    for row in bars.own_rows(speed):
        found = row.workload(bars.TO_MASKS)
        if found is not None:
            iou, extra = speed.mask_iou.get(bars.run_of(row)), bars.extra_of_encode(row)
            kept = NONE if iou is None else f"{iou:.4f}"
            share = NONE if extra is None else extra.text(" %")
            rows.append([row.key, _point(found.spread), f"{found.images_per_s:.1f}", share, kept])
    heads = ("picture to masks, ms", "pictures/s", "text-to-mask, of encode")
    return table(("", *heads, "mean mask IoU with torch"), rows)


def draw_chart(speed: record.Speed) -> bytes:
    """Draws the medians; the baseline is grey, and a skill that a subject lacks has no bar."""
    shown = _shown(speed)
    if not shown:
        raise ValueError("there is nothing to draw: no subject was measured")
    subjects = speed.subjects[::-1]
    figure = new_figure(2.4 * len(shown) + 2, 0.5 * len(subjects) + 1.2)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        rows = [(row.key, row.workload(name)) for row in subjects]
        drawn = axes.barh(
            [key for key, _ in rows],
            [0.0 if found is None else found.warm.p50_ms for _, found in rows],
            color=[GREY if key == speed.settings.baseline else BLUE for key, _ in rows],
        )
        labels = ["" if found is None else three_digits(found.warm.p50_ms) for _, found in rows]
        axes.bar_label(drawn, labels=labels, padding=2, fontsize="small")
        axes.set_xlabel(f"{name}, ms")
        axes.margins(x=0.25)
    return encode_figure(figure)
