"""The record of what the presets' image encoders cost: parameters, operations, time; its table."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from benchmarks.record import Record, Run
from benchmarks.report import NONE, table, three_digits
from samclip_sdk.modeling.config import PRESETS, ModelConfig


class EncoderCost(Record):
    """The image encoder of a preset at a resolution, as it is exported.

    A multiplication and an addition are two operations, of which `flop` has those of matrix
    products and convolutions. `rounds_p50_ms` is the median of each round; empty where only
    operations were counted.
    """

    preset: str
    resolution: int
    parameters: int
    flop: int
    rounds_p50_ms: tuple[float, ...]

    @property
    def p50_ms(self) -> float | None:
        """The middle one of the rounds' medians, of an even number the faster of two."""
        ranked = sorted(self.rounds_p50_ms)
        return ranked[(len(ranked) - 1) // 2] if ranked else None


class EncoderCosts(Run):
    """The whole of encoders.json; `threads` is onnxruntime's for a graph, 0 its own choice."""

    threads: int
    encoders: tuple[EncoderCost, ...] = Field(min_length=1)


def find_presets(names: Sequence[str]) -> dict[str, ModelConfig]:
    """The presets of these names, all of them without any.

    Raises:
        ValueError: there is no such preset.
    """
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
    return {name: PRESETS[name] for name in names or PRESETS}


def render(costs: EncoderCosts) -> str:
    """A row for each preset, and under the table how it was made."""
    by_size = {(each.preset, each.resolution): each for each in costs.encoders}
    names = dict.fromkeys(each.preset for each in costs.encoders)
    sizes = sorted({each.resolution for each in costs.encoders})
    figures = [f"{what}, {size} px" for what in ("GFLOP", "ms") for size in sizes]
    heads = ["preset", "parameters, M", *figures]
    rows = [
        [
            f"`{name}`",
            f"{by_size[name, sizes[0]].parameters / 1e6:.1f}",
            *(three_digits(by_size[name, size].flop / 1e9) for size in sizes),
            *(_time(by_size[name, size]) for size in sizes),
        ]
        for name in names
    ]
    environment = costs.environment
    threads = f"{costs.threads} threads" if costs.threads else "as many threads as it chooses"
    timed = any(each.rounds_p50_ms for each in costs.encoders)
    how = (
        f"Medians of the rounds, with the least and the greatest; one picture, fp32 on onnxruntime "
        f"{environment.versions['onnxruntime']}, {threads}; {environment.cpu}."
        if timed
        else "Operations are counted; no time was measured yet."
    )
    return (
        f"{table(heads, rows)}\n\nThe image encoders of the presets, with random weights. {how} "
        f"{environment.date[:10]}. Made by `{environment.command}`.\n"
    )


def _time(cost: EncoderCost) -> str:
    if cost.p50_ms is None:
        return NONE
    low, high = min(cost.rounds_p50_ms), max(cost.rounds_p50_ms)
    return f"{three_digits(cost.p50_ms)} ({three_digits(low)}–{three_digits(high)})"
