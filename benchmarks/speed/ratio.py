"""How two times compare: a ratio of medians is a result only beyond its spread."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.speed.record import Spread


@dataclass(frozen=True)
class Ratio:
    """A multiple, and the least and the greatest that the two spreads allow; None if unknown."""

    middle: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, time: Spread, base: Spread) -> Ratio:
        """How many times `base` a time is."""
        limits = (time.low_ms, time.high_ms, base.low_ms, base.high_ms)
        low = high = None
        if time.low_ms and time.high_ms and base.low_ms and base.high_ms and all(limits):
            low, high = time.low_ms / base.high_ms, time.high_ms / base.low_ms
        return cls(time.p50_ms / base.p50_ms, low, high)

    @property
    def verdict(self) -> str:
        """Faster or slower only if the whole spread is."""
        if self.low is None or self.high is None:
            return "its spread is unknown"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "within the spread"

    def __str__(self) -> str:
        known = self.low is not None and self.high is not None and self.low < self.high
        spread = f" ({_digits(self.low)}–{_digits(self.high)})" if known else ""
        return f"{_digits(self.middle)}×{spread}"


def _digits(value: float | None) -> str:
    return f"{value:.2f}" if value is None or value >= 0.1 else f"{value:.2g}"


def exact(value: float) -> Spread:
    """Something that is not of runs, such as a size, as what can be compared."""
    return Spread(p50_ms=value, low_ms=value, high_ms=value)
