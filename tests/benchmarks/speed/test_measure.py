"""What is measured of subjects whose costs are known, and what is told of those that fail."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from benchmarks.speed.measure import (
    HowLong,
    SubjectError,
    WorkerProcess,
    measure_subjects,
    summarize,
)
from benchmarks.speed.subject import open_subject, run_workload
from benchmarks.suite import Measuring
from benchmarks.table import Part
from tests.benchmarks.measured import measure
from tests.benchmarks.speed.fake_subject import LEAK_BYTES

FAKE = "tests.benchmarks.speed.fake_subject:Fake"


def measured_subjects(*options: str, rounds: int = 1, spec: str = FAKE) -> Part:
    def work(measured: Measuring) -> None:
        specs, how = [f"{spec}{each}" for each in options], HowLong(rounds, 0, 3, 3)
        for subject in measure_subjects(measured, specs, how=how, limit_s=60):
            subject.add_to(measured)
        measured.add("test", done=1)

    return measure(work)


def failures(part: Part) -> list[dict[str, str]]:
    return part.run.settings["failures"]


def test_a_sleep_is_measured_as_one() -> None:
    part = measured_subjects(",sleep_ms=4,skills=encode", rounds=2)
    assert failures(part) == []
    # The other package is not installed.
    assert part.run.settings["subjects"]["fake"]["versions"] == {"numpy": np.__version__}
    row, whole = part.metrics("fake", "encode"), part.metrics("fake")
    # Ten a round, whatever the settings say, since it takes less than a second.
    assert row["ms"].n == 20
    assert 4 <= row["min_ms"].value <= row["ms"].low <= row["ms"].value
    assert row["ms"].value <= row["p90_ms"].value <= row["p99_ms"].value
    assert row["first_ms"].value >= 4
    assert (whole["open_ms"].n, whole["artifact_bytes"].value) == (2, 1_000_000)


def test_all_three_are_timed_by_their_steps_or_what_the_others_take_in_turn() -> None:
    part = measured_subjects(",sleep_ms=4,skills=three_ways", rounds=2)
    whole = part.metrics("fake", "three_ways")
    assert (whole["ms"].n, whole["min_ms"].value, whole["p99_ms"].value) == (20, 5, 5)
    assert part.value("fake", "ms", "step sleep") == 4
    part = measured_subjects(",skills=encode+point,adds_up=true", rounds=2)
    total = sum(part.value("fake", "mean_ms", each) for each in ("encode", "point"))
    assert part.value("fake", "mean_ms", "three_ways") == pytest.approx(total, abs=0.5)


def test_the_limits_are_of_rounds_and_of_one_round_of_its_runs() -> None:
    assert summarize([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]])["ms"] == (3.5, 2, 4)
    assert summarize([[1.0, 5.0, 2.0]])["ms"] == (2, 1, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells another process's peak")
def test_a_leak_is_seen_where_it_happens() -> None:
    part = measured_subjects(",skills=encode+point,leaks=point")
    quiet, leaking, whole = (
        part.value("fake", "peak_rss_bytes", split) for split in ("encode", "point", "")
    )
    # A first run, one to warm up, and ten: each keeps what it took.
    assert leaking - quiet >= 12 * LEAK_BYTES
    assert whole >= leaking


@pytest.mark.parametrize(
    ("spec", "at", "reason"),
    [
        (f"{FAKE},fails=point", "point", "ValueError: no such skill"),
        (
            f"{FAKE},skills=encode+point,dies=point",
            "point",
            "the process ended: peers print to standard output",
        ),
        (f"{FAKE},fails=open", "open", "RuntimeError: the weights at weights.bin are not there"),
        ("no.such.peer:Peer", "open", "ModuleNotFoundError: No module named 'no'"),
        (f"{FAKE},colour=red", "open", "TypeError: .*'colour'"),
    ],
)
def test_what_fails_is_told_once_and_the_rest_is_measured(
    spec: str, at: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    part = measured_subjects("", spec=spec, rounds=2)
    (failure,) = failures(part)
    assert failure["at"] == at
    assert re.match(reason, failure["reason"])
    assert capsys.readouterr().err.count(f"{spec}, {at}: failed, {failure['reason']}\n") == 1
    assert ("encode" in part.splits("fake", "ms")) == (at == "point")


def test_a_subject_that_does_not_answer_is_given_up() -> None:
    with WorkerProcess(limit_s=60) as worker:
        worker.ask(open_subject, f"{FAKE},hangs=point")
        worker.limit_s = 0.2
        with pytest.raises(SubjectError, match=r"no answer within 0\.2 s"):
            worker.ask(run_workload, "point")


def test_two_subjects_of_one_key_are_told_apart() -> None:
    part = measured_subjects(",skills=encode", ",skills=point")
    assert part.splits("fake", "ms") == ["encode"]
    assert "has its key, fake" in failures(part)[0]["reason"]
