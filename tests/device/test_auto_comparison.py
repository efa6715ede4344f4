"""Times in turns tell the faster of two on a machine that is busy; if not, that is seen."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from samclip_sdk.device.auto_comparison import by_time, describe, ratio_of, rivals
from samclip_sdk.device.auto_records import ENOUGH, Ratio, Trial
from samclip_sdk.system.timing import time_in_turns

FIRST = Trial(runtime="onnx", precision="fp32", ratio=Ratio(median=1.0, low=1.0, high=1.0))
STEP_S = 0.001


def idle(now: float) -> float:
    return 1.0


def busy(now: float) -> float:
    """Another program takes two thirds of the cores, after a while."""
    return 1.0 if now < 0.7 else 1 / 3


def quota(now: float) -> float:
    """A container may compute for 50 of every 100 milliseconds."""
    return 1.0 if now % 0.1 < 0.05 else 0.0


def big_little(now: float) -> float:
    """The system moves the threads between fast cores and ones of a third of their speed."""
    return random.Random(int(now / 0.15)).choice((1.0, 1 / 3))


def turns(
    machine: Callable[[float], float], *, work_s: float, monkeypatch: pytest.MonkeyPatch
) -> Ratio:
    """The ratio of a work to one of 100 milliseconds, by the clock of a machine of this speed."""
    now = 0.0

    def run(seconds: float) -> None:
        nonlocal now
        while seconds > 0:
            seconds -= STEP_S * machine(now)
            now += STEP_S

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    return ratio_of(
        time_in_turns(lambda: run(work_s), lambda: run(0.1), seconds=1.0, at_least=5, at_most=15)
    )


def against_the_first(ratio: Ratio) -> list[tuple[Ratio, Trial]]:
    return by_time([FIRST, Trial(runtime="openvino", precision="fp32", ratio=ratio)])


@pytest.mark.parametrize("machine", [idle, busy, quota, big_little])
@pytest.mark.parametrize(("work_s", "fastest"), [(0.04, "openvino"), (0.25, "onnx")])
def test_the_faster_one_is_seen(
    machine: Callable[[float], float],
    work_s: float,
    fastest: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratio = turns(machine, work_s=work_s, monkeypatch=monkeypatch)
    assert against_the_first(ratio)[0][1].runtime == fastest


@pytest.mark.parametrize(
    ("median", "low", "high", "fastest", "rival"),
    [
        (0.50, 0.40, 0.80, "openvino", ""),
        (0.97, 0.95, 0.99, "openvino", ""),
        (1.02, 0.99, 1.05, "onnx", ""),  # as good as equal: either will do
        (0.97, 0.70, 1.30, "openvino", "onnx"),
        (1.10, 0.80, 1.30, "onnx", "openvino"),
    ],
)
def test_times_that_may_hide_a_faster_one_are_in_doubt_and_that_is_said(
    median: float, low: float, high: float, fastest: str, rival: str
) -> None:
    ranked = against_the_first(Ratio(median=median, low=low, high=high))
    assert ranked[0][1].runtime == fastest
    assert " ".join(each.runtime for each in rivals(ranked)) == rival
    assert "next load" not in describe(ranked, in_doubt=0)
    if rival:
        assert f"{rival} fp32: the next load" in describe(ranked, in_doubt=1)
        assert f"{ENOUGH} times" in describe(ranked, in_doubt=ENOUGH)
