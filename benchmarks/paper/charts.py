"""The parts of the paper as charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.charts import BLUE, GREY, ORANGE, encode_figure, new_figure
from benchmarks.paper.words import BACKBONES, METHODS, SUITE, names_of, part_of
from benchmarks.table import Part, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _draw_text_to_mask(part: Part, panels: Sequence[Axes]) -> None:
    quality, cost = panels
    names = [name for name in METHODS if name in part.subjects][::-1]
    figures = [part.metrics(name, part.splits(name, "clip_passes")[0]) for name in names]
    words = [METHODS[name] for name in names]
    quality.barh(words, [100 * each["miou"].value for each in figures], color=BLUE)
    quality.set_xlabel("mIoU, %")
    cost.barh(words, [1 + each["clip_passes"].value for each in figures], color=GREY)
    cost.set_xlabel("backbone passes a picture")


def _draw_probing(part: Part, panels: Sequence[Axes]) -> None:
    names = [subject.split(": ")[1] for subject in part.subjects]
    subjects = {f"probing: {name}": BACKBONES[name] for name in names}
    named = [next(iter(names_of(part, subject).values())) for subject in subjects]
    panels[0].bar([*subjects.values()], [100 * each["top1"].value for each in named], color=BLUE)
    panels[0].set_ylabel("linear probe, top-1, %")
    mious = [100 * part.metrics(subject)["miou"].value for subject in subjects]
    panels[1].bar([*subjects.values()], mious, color=ORANGE)
    panels[1].set_ylabel("linear probe, mIoU, %")


def _draw(
    name: str, draw: Callable[[Part, Sequence[Axes]], None], read: Callable[[str], Table]
) -> bytes:
    part = part_of(read(SUITE), name)
    if part is None:
        raise ValueError(f"{name} of {SUITE} is on a page, and was not measured")
    figure = new_figure(8, 3.6)
    draw(part, figure.subplots(1, 2, sharey=name == "text_to_mask", squeeze=False)[0])
    return encode_figure(figure)


CHARTS: dict[str, Callable[[Callable[[str], Table]], bytes]] = {
    "photographs_text_to_mask.png": partial(_draw, "text_to_mask", _draw_text_to_mask),
    "photographs_probing.png": partial(_draw, "probing", _draw_probing),
}
"""File -> what draws it."""
