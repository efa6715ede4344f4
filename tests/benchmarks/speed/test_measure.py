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
from benchmarks.speed.subject import WORKLOADS
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
    part = measured_subjects(",sleep_ms=4,skills=three_ways+encode", rounds=2)
    assert failures(part) == []
    # The other package is not installed.
    assert part.run.settings["subjects"]["fake"]["versions"] == {"numpy": np.__version__}
    assert part.splits("fake", "ms") == ["three_ways", "encode"]
    for name in ("three_ways", "encode"):
        row = part.metrics("fake", name)
        # Ten a round, whatever the settings say, since it takes less than a second.
        assert row["ms"].n == 20
        assert 4 <= row["min_ms"].value <= row["ms"].low <= row["ms"].value
        assert row["ms"].value <= row["p90_ms"].value <= row["p99_ms"].value
        assert row["first_ms"].value >= 4
    whole = part.metrics("fake")
    assert whole["open_ms"].n == 2
    assert whole["open_ms"].value > 0
    assert whole["artifact_bytes"].value == 1_000_000


def test_all_three_are_timed_by_their_steps() -> None:
    part = measured_subjects(",sleep_ms=4,skills=three_ways", rounds=2)
    whole = part.metrics("fake", "three_ways")
    assert (whole["ms"].n, whole["min_ms"].value, whole["p99_ms"].value) == (20, 5, 5)
    assert part.value("fake", "ms", "step sleep") == 4
    assert part.value("fake", "ms", "step other") == 1
    assert "rest_ms" not in whole, "none of the steps is the image encoder"


def test_all_three_are_what_the_others_take_in_turn() -> None:
    part = measured_subjects(",skills=encode+classify+point+text3,adds_up=true", rounds=2)
    parts = [part.metrics("fake", each) for each in ("encode", "classify", "point", "text3")]
    whole = part.metrics("fake", "three_ways")
    assert whole["ms"].n == 20
    for metric in ("mean_ms", "first_ms"):
        total = sum(each[metric].value for each in parts)
        assert whole[metric].value == pytest.approx(total, abs=0.5)
    gone = ",skills=encode+classify+point+text3,fails=point,adds_up=true"
    fewer = measured_subjects(gone, rounds=2)
    assert [each["at"] for each in failures(fewer)] == ["point"]
    assert fewer.splits("fake", "ms") == ["encode", "classify", "text3"]


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


def test_a_failing_skill_is_told_once_and_the_others_are_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = measured_subjects(",fails=point", rounds=2)
    assert (
        f"{FAKE},fails=point, point: failed, ValueError: no such skill\n" in capsys.readouterr().err
    )
    (failure,) = failures(part)
    assert failure == {"subject": "fake", "at": "point", "reason": "ValueError: no such skill"}
    assert set(part.splits("fake", "ms")) >= set(WORKLOADS) - {"point"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (f"{FAKE},fails=open", "RuntimeError: the weights at weights.bin are not there"),
        ("no.such.peer:Peer", "ModuleNotFoundError: No module named 'no'"),
        (f"{FAKE},colour=red", "TypeError: .*unexpected keyword argument 'colour'"),
    ],
)
def test_a_subject_that_cannot_be_opened_is_told(spec: str, reason: str) -> None:
    part = measured_subjects("", spec=spec, rounds=3)
    assert part.subjects == ["test"]
    (failure,) = failures(part)
    assert failure["at"] == "open"
    assert re.match(reason, failure["reason"])


def test_a_process_that_ends_is_told_with_what_it_said_last() -> None:
    part = measured_subjects(",skills=encode+point+text3,dies=point")
    assert part.splits("fake", "ms") == ["encode"]
    assert [each["at"] for each in failures(part)] == ["point", "text3"]
    ended = "the process ended with code 3: peers print to standard output"
    assert failures(part)[0]["reason"] == ended


def test_a_subject_that_does_not_answer_is_given_up() -> None:
    with WorkerProcess(limit_s=60) as worker:
        worker.ask("open", f"{FAKE},hangs=point")
        worker.limit_s = 0.2
        with pytest.raises(SubjectError, match=r"no answer within 0\.2 s"):
            worker.ask("run", "point")


def test_two_subjects_of_one_key_are_told_apart() -> None:
    part = measured_subjects(",skills=encode", ",skills=point")
    assert part.splits("fake", "ms") == ["encode"]
    assert "has its key, fake" in failures(part)[0]["reason"]
