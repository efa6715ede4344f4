"""Which of the candidates that were tried is the fastest, and whether their times tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_sdk.device.auto_records import ENOUGH, Ratio, Trial

SLACK = 0.1
"""The share of time that a wrong choice may cost."""

_DIGITS = 3


def ratio_of(turns: Sequence[tuple[float, float]]) -> Ratio:
    """A candidate's time as a share of the reference's.

    Args:
        turns: the milliseconds of the candidate and of the reference, for each turn.
    """
    shares = [candidate / reference for candidate, reference in turns]
    low, middle, high = (
        round(float(each), _DIGITS) for each in np.percentile(shares, (25, 50, 75))
    )
    return Ratio(median=middle, low=low, high=high)


def by_time(trials: Sequence[Trial]) -> list[tuple[Ratio, Trial]]:
    """The candidates that were not refused with their ratios, the fastest first."""
    timed = [(each.ratio, each) for each in trials if each.ratio is not None]
    return sorted(timed, key=lambda pair: pair[0].median)


def rivals(ranked: Sequence[tuple[Ratio, Trial]]) -> list[Trial]:
    """Those that may be faster than the first by more than `SLACK`: the times vary too much."""
    best, _ = ranked[0]
    return [trial for ratio, trial in ranked[1:] if ratio.low < (1 - SLACK) * best.high]


def describe(ranked: Sequence[tuple[Ratio, Trial]], *, in_doubt: int) -> str:
    """Why the first was chosen, in one line: the times as shares of the reference's.

    Args:
        ranked: the candidates, the fastest first.
        in_doubt: how often in a row it was chosen in doubt.
    """
    times = ", before ".join(
        f"{trial.name} with {ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
        for ratio, trial in ranked
    )
    reason = f"the fastest of those that keep their bounds, timed in turns: {times}"
    if not in_doubt:
        return reason
    names = ", ".join(each.name for each in rivals(ranked))
    doubt = f"{reason}; the times vary too much to tell it from {names}"
    if in_doubt < ENOUGH:
        return f"{doubt}: the next load measures again"
    return f"{doubt}, but it came out {in_doubt} times in a row"
