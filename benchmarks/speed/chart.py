"""The bar chart of medians."""

from __future__ import annotations

from benchmarks.charts import BLUE, GREY, encode_figure, new_figure
from benchmarks.figures import digits
from benchmarks.speed.subject import WORKLOADS
from benchmarks.table import Part


def draw_chart(part: Part) -> bytes:
    """Draws the medians; the baseline is grey, and a skill that a subject lacks has no bar."""
    times = {name: part.by_subject(name) for name in WORKLOADS}
    shown = [name for name in WORKLOADS if times[name]]
    subjects = [key for key in part.subjects if any(key in times[name] for name in shown)][::-1]
    if not shown:
        raise ValueError("there is nothing to draw: no subject was measured")
    figure = new_figure(2.4 * len(shown) + 2, 0.5 * len(subjects) + 1.2)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        baseline, found = part.run.settings.get("baseline"), times[name]
        drawn = axes.barh(
            subjects,
            [found.get(key, 0.0) for key in subjects],
            color=[GREY if key == baseline else BLUE for key in subjects],
        )
        labels = [digits(found[key]) if key in found else "" for key in subjects]
        axes.bar_label(drawn, labels=labels, padding=2, fontsize="small")
        axes.set_xlabel(f"{name}, ms")
        axes.margins(x=0.25)
    return encode_figure(figure)
