"""The parts of the paper as charts, of drawings and of photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.charts import BLUE, GREY, ORANGE, encode_figure, new_figure
from benchmarks.paper.words import BACKBONES, METHODS, names_of, part_of
from benchmarks.table import Part, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TOP1, _BOX = "zero-shot top-1, %", "box mIoU, %"


def _top1(part: Part, who: str) -> float:
    """Of what is named first."""
    return 100 * next(iter(names_of(part, who).values()))["top1"].value


def _box(part: Part, who: str) -> float:
    subject = f"{who}: prompts"
    return 100 * part.metrics(subject, part.splits(subject)[0])["box"].value


def _members(part: Part, name: str) -> list[str]:
    """Who was measured in a part, such as an alpha."""
    found = (subject.split(": ") for subject in part.subjects)
    return list(dict.fromkeys(each[1] for each in found if each[0] == name))


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
    subjects = [f"probing: {name}" for name in _members(part, "probing")]
    words = [BACKBONES[subject.split(": ")[1]] for subject in subjects]
    panels[0].bar(words, [_top1(part, each) for each in subjects], color=BLUE)
    panels[0].set_ylabel("linear probe, top-1, %")
    mious = [100 * part.metrics(each)["miou"].value for each in subjects]
    panels[1].bar(words, mious, color=ORANGE)
    panels[1].set_ylabel("linear probe, mIoU, %")


def _draw_resolutions(part: Part, panels: Sequence[Axes]) -> None:
    rows = [each.split(" ") for each in _members(part, "resolutions")]
    stages = list(dict.fromkeys(stage for stage, _ in rows))
    for stage, colour in zip(stages[::-1], (BLUE, GREY, ORANGE)):  # noqa: B905, as many as there are
        sizes = [int(size) for own, size in rows if own == stage]
        shares = [_top1(part, f"resolutions: {stage} {size}") for size in sizes]
        panels[0].plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    ticks = sorted({int(size) for _, size in rows})
    panels[0].set(xlabel="input resolution, px", ylabel=_TOP1, xticks=ticks)
    panels[0].legend(frameon=False)


def _draw_wise_ft(part: Part, panels: Sequence[Axes]) -> None:
    alphas = [each for each in _members(part, "wise_ft") if each != "joint"]
    for axes, words, figure in zip(panels, (_TOP1, _BOX), (_top1, _box), strict=True):
        values = [figure(part, f"wise_ft: {alpha}") for alpha in alphas]
        places = [float(alpha) for alpha in alphas]
        axes.plot(places, values, marker="o", color=BLUE, label="interpolated weights")
        together = figure(part, "wise_ft: joint")
        axes.axhline(together, color=ORANGE, linestyle="--", label="joint model")
        axes.set(xlabel="alpha: 0 is SAM, 1 is CLIP", ylabel=words)
    panels[0].legend(frameon=False)


def _draw_lambdas(part: Part, panels: Sequence[Axes]) -> None:
    weights = _members(part, "lambdas")
    top1, box = ([figure(part, f"lambdas: {each}") for each in weights] for figure in (_top1, _box))
    panels[0].plot(top1, box, color=GREY, marker="o", markerfacecolor=BLUE)
    for weight, point in zip(weights, zip(top1, box, strict=True), strict=True):
        words = f"λ = {weight}"
        panels[0].annotate(words, point, textcoords="offset points", xytext=(6, 6))
    panels[0].set(xlabel=_TOP1, ylabel=_BOX)
    panels[0].margins(0.2)


_DRAWN: dict[str, tuple[int, Callable[[Part, Sequence[Axes]], None]]] = {
    "text_to_mask": (2, _draw_text_to_mask),
    "probing": (2, _draw_probing),
    "resolutions": (1, _draw_resolutions),
    "wise_ft": (2, _draw_wise_ft),
    "lambdas": (1, _draw_lambdas),
}
"""The parts that have a chart: how many panels, and what draws them."""


def _draw(suite: str, name: str, read: Callable[[str], Table]) -> bytes:
    part = part_of(read(suite), name)
    if part is None:
        raise ValueError(f"{name} of {suite} is on a page, and was not measured")
    panels, draw = _DRAWN[name]
    figure = new_figure(8, 3.6)
    shared = name == "text_to_mask"
    draw(part, figure.subplots(1, panels, sharey=shared, squeeze=False)[0])
    return encode_figure(figure)


CHARTS: dict[str, Callable[[Callable[[str], Table]], bytes]] = {
    **{f"{name}.png": partial(_draw, "paper", name) for name in _DRAWN},
    **{
        f"photographs_{name}.png": partial(_draw, "paper_photographs", name)
        for name in _DRAWN
        if name != "lambdas"
    },
}
"""File -> what draws it."""
