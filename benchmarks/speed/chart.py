"""speed.json as a bar chart, PNG: the medians of every subject, a panel for each workload."""

from __future__ import annotations

from benchmarks.report import BLUE, GREY, encode_figure, milliseconds, new_figure
from benchmarks.speed.record import Speed
from benchmarks.speed.subject import WORKLOADS


def draw_chart(speed: Speed) -> bytes:
    """Draws the medians; the baseline is grey, and a skill that a subject lacks has no bar.

    Raises:
        ValueError: no subject was measured.
    """
    shown = [name for name in WORKLOADS if any(row.workload(name) for row in speed.subjects)]
    if not shown:
        raise ValueError("there is nothing to draw: no subject was measured")
    subjects = speed.subjects[::-1]
    figure = new_figure(2.4 * len(shown) + 2, 0.5 * len(subjects) + 1.2)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        rows = [(row.key, row.workload(name)) for row in subjects]
        bars = axes.barh(
            [key for key, _ in rows],
            [0.0 if found is None else found.warm.p50_ms for _, found in rows],
            color=[GREY if key == speed.settings.baseline else BLUE for key, _ in rows],
        )
        labels = ["" if found is None else milliseconds(found.warm.p50_ms) for _, found in rows]
        axes.bar_label(bars, labels=labels, padding=2, fontsize="small")
        axes.set_xlabel(f"{name}, ms")
        axes.margins(x=0.25)
    return encode_figure(figure)
