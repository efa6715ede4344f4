"""latency.json as a bar chart, PNG: the medians of every subject, a panel for each workload."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from benchmarks.speed.report import milliseconds
from benchmarks.speed.schema import Latency
from benchmarks.speed.subject import WORKLOADS

_BLUE, _GREY = "#2a6fb0", "#8a8f98"
_DPI = 120


def draw_latency(latency: Latency) -> bytes:
    """Draws the medians; the baseline is grey, and a skill that a subject lacks has no bar.

    Raises:
        ValueError: no subject was measured.
    """
    shown = [name for name in WORKLOADS if any(row.workload(name) for row in latency.subjects)]
    if not shown:
        raise ValueError("there is nothing to draw: no subject was measured")
    subjects = latency.subjects[::-1]
    # Not pyplot: a figure of its own draws with Agg, and leaves no global state.
    figure = Figure(figsize=(2.4 * len(shown) + 2, 0.5 * len(subjects) + 1.2), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        rows = [(row.key, row.workload(name)) for row in subjects]
        bars = axes.barh(
            [key for key, _ in rows],
            [0.0 if found is None else found.warm.p50_ms for _, found in rows],
            color=[_GREY if key == latency.settings.baseline else _BLUE for key, _ in rows],
        )
        labels = ["" if found is None else milliseconds(found.warm.p50_ms) for _, found in rows]
        axes.bar_label(bars, labels=labels, padding=2, fontsize="small")
        axes.set_xlabel(f"{name}, ms")
        axes.margins(x=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without the version of matplotlib, the same numbers give the same file.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
