"""Charts of figures, the same bytes for the same figures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2a6fb0", "#d9822b", "#8a8f98"


def new_figure(width: float, height: float) -> Figure:
    """A chart's sheet, in inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("charts need matplotlib: pip install matplotlib") from error
    # Not pyplot: a figure of its own draws with Agg, and leaves no global state.
    return Figure(figsize=(width, height), layout="constrained")


def encode_figure(figure: Figure, *, form: str = "png") -> bytes:
    """The chart as "png" or "svg"; all its axes lose their upper and right lines."""
    # Only here: matplotlib is for charts alone.
    from matplotlib import rc_context

    axes: Axes
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without date, version and random names, the same numbers give the same file.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[form]
    dpi = 120 if form == "png" else "figure"
    with rc_context({"svg.hashsalt": "samclip"}):
        figure.savefig(buffer, format=form, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
