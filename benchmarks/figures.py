"""How figures are written: numbers with their units and spreads."""

from __future__ import annotations

from benchmarks.intervals import Estimate
from benchmarks.table import Row

NONE = "–"

Figure = Row | Estimate | float | None


def _value(figure: Figure) -> float | None:
    return figure.value if isinstance(figure, (Row, Estimate)) else figure


def percent(figure: Figure) -> str:
    """A share in percent, to one decimal."""
    value = _value(figure)
    return NONE if value is None else f"{100 * value:.1f}"


def interval(figure: Row | Estimate | None) -> str:
    """A share in percent, and its interval."""
    if figure is None:
        return NONE
    return f"{percent(figure)} ({percent(figure.low)} to {percent(figure.high)})"


def digits(figure: Figure) -> str:
    """Three digits, or as many as there are before the point."""
    value = _value(figure)
    if value is None:
        return NONE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(figure: Figure) -> str:
    """A figure of three digits, and in brackets its limits, if they are known."""
    if not isinstance(figure, (Row, Estimate)) or figure.low is None:
        return digits(figure)
    return f"{digits(figure)} ({digits(figure.low)}–{digits(figure.high)})"


def times(ratio: Estimate | None, unit: str = "×") -> str:
    """A ratio of three digits, of which zeros are some, and its spread, if it has one."""

    def written(value: float) -> str:
        return digits(value) if value >= 100 else f"{value:#.3g}"

    if ratio is None:
        return NONE
    known = ratio.low is not None and ratio.low != ratio.high
    limits = f" ({written(ratio.low)}–{written(ratio.high)})" if known else ""
    return f"{written(ratio.value)}{unit}{limits}"


def fixed(figure: Figure, decimals: int, per: float = 1) -> str:
    """So many decimals of a figure, in units of `per`."""
    value = _value(figure)
    return NONE if value is None else f"{value / per:.{decimals}f}"


def general(value: float) -> str:
    """A setting, to three decimals at most."""
    return f"{round(value, 3):g}"


def thousands(value: float) -> str:
    """A number with commas, to as many decimals as it has."""
    return f"{value:,.10g}"
