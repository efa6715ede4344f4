"""What is measured of subjects whose costs are known, and what is told of those that fail."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.speed.measure import SubjectError, WorkerProcess, measure_subjects, summarize
from benchmarks.speed.record import Failure, Settings, SubjectRow
from benchmarks.speed.subject import WORKLOADS
from tests.benchmarks.speed.example_speed import spread
from tests.benchmarks.speed.fake_subject import LEAK_BYTES

FAKE = "tests.benchmarks.speed.fake_subject:Fake"


def measure(*specs: str, rounds: int = 1, limit_s: float = 60, **more: Any) -> tuple[Any, Any]:
    settings = Settings(rounds=rounds, seconds=0, at_least=3, at_most=3, baseline=None)
    return measure_subjects(specs, settings=settings, limit_s=limit_s, **more)


def measure_one(options: str = "", **settings: Any) -> tuple[SubjectRow, tuple[Failure, ...]]:
    (row,), failures = measure(f"{FAKE}{options}", **settings)
    return row, failures


def test_a_sleep_is_measured_as_one() -> None:
    row, failures = measure_one(",sleep_ms=4,skills=three_ways+encode", rounds=2)
    assert failures == ()
    assert row.package_versions == {"numpy": np.__version__}  # the other one is not installed
    assert [each.workload for each in row.workloads] == ["three_ways", "encode"]
    for each in row.workloads:
        # Ten a round, whatever the settings say, since it takes less than a second.
        assert each.warm.n == 20
        assert each.warm.min_ms >= 4
        assert each.warm.p90_ms is not None
        assert each.warm.p99_ms is not None
        assert each.warm.min_ms <= each.warm.p50_ms <= each.warm.p90_ms <= each.warm.p99_ms
        assert (each.low_ms, each.high_ms) == (min(each.rounds_p50_ms), max(each.rounds_p50_ms))
        assert len(each.first_ms) == len(each.rounds_p50_ms) == 2
        assert min(each.first_ms) >= 4
        assert each.images_per_s == pytest.approx(1000 / each.warm.mean_ms, rel=1e-3)
    assert row.steps == {}
    assert len(row.load_ms) == len(row.import_ms) == 2
    assert min(row.import_ms) > 0
    assert row.workload("point") is None


def test_all_three_are_timed_by_their_steps() -> None:
    row, failures = measure_one(",sleep_ms=4,skills=three_ways", rounds=2)
    assert failures == ()
    whole = row.workload("three_ways")
    assert whole is not None
    assert (whole.warm.n, whole.warm.min_ms, whole.warm.p99_ms) == (20, 5, 5)
    assert [(name, each.warm.n, each.spread) for name, each in row.steps.items()] == [
        ("sleep", 20, spread(4, 4, 4)),
        ("other", 20, spread(1, 1, 1)),
    ]


def test_all_three_are_what_the_others_take_in_turn() -> None:
    row, failures = measure_one(",skills=encode+classify+point+text3,adds_up=true", rounds=2)
    assert failures == ()
    *parts, whole = row.workloads
    names = ["encode", "classify", "point", "text3", "three_ways"]
    assert [each.workload for each in (*parts, whole)] == names
    assert whole.warm.n == 20
    assert whole.warm.mean_ms == pytest.approx(sum(each.warm.mean_ms for each in parts), abs=0.01)
    assert whole.first_ms == pytest.approx(
        [sum(each) for each in zip(*(part.first_ms for part in parts), strict=True)]
    )
    assert whole.peak_rss_bytes == max(each.peak_rss_bytes or 0 for each in parts)


def test_the_limits_are_of_rounds_and_of_one_round_of_its_runs() -> None:
    several = summarize([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]])
    assert several.rounds_p50_ms == (2, 4)
    assert several.spread == spread(3.5, 2, 4)
    assert several.warm.n == 6
    alone = summarize([[1.0, 5.0, 2.0]])
    assert alone.spread == spread(2, 1, 5)


def test_what_does_not_do_all_three_has_no_sum() -> None:
    row, failures = measure_one(
        ",skills=encode+classify+point+text3,fails=point,adds_up=true", rounds=2
    )
    assert [each.at for each in failures] == ["point"]
    assert [each.workload for each in row.workloads] == ["encode", "classify", "text3"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells another process's peak")
def test_a_leak_is_seen_where_it_happens() -> None:
    row, _ = measure_one(",skills=encode+point,leaks=point")
    quiet, leaking = row.workload("encode"), row.workload("point")
    assert quiet is not None
    assert leaking is not None
    assert quiet.peak_rss_bytes is not None
    assert leaking.peak_rss_bytes is not None
    assert row.peak_rss_bytes is not None
    # A first run, one to warm up, and ten: each keeps what it took.
    assert leaking.peak_rss_bytes - quiet.peak_rss_bytes >= 12 * LEAK_BYTES
    assert row.peak_rss_bytes >= leaking.peak_rss_bytes


def test_a_failing_skill_is_told_and_the_others_are_measured() -> None:
    said: list[str] = []
    row, failures = measure_one(",fails=point", rounds=2, on_failure=said.append)
    assert said == [f"{FAKE},fails=point, point: failed, ValueError: no such skill"]
    assert failures == (Failure(subject="fake", at="point", reason="ValueError: no such skill"),)
    assert {each.workload for each in row.workloads} == set(WORKLOADS) - {"point"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (f"{FAKE},fails=open", "RuntimeError: the weights at weights.bin are not there"),
        ("no.such.peer:Peer", "ModuleNotFoundError: No module named 'no'"),
        (f"{FAKE},colour=red", "TypeError: .*unexpected keyword argument 'colour'"),
    ],
)
def test_a_subject_that_cannot_be_opened_is_told(spec: str, reason: str) -> None:
    rows, (failure,) = measure(spec, rounds=3)
    assert rows == ()
    assert failure.at == "open"
    assert re.match(reason, failure.reason)


def test_a_process_that_ends_is_told() -> None:
    row, failures = measure_one(",skills=encode+point+text3,dies=point")
    assert [each.workload for each in row.workloads] == ["encode"]
    assert [each.at for each in failures] == ["point", "text3"]
    assert "the process ended with code 3" in failures[0].reason


def test_a_subject_that_does_not_answer_is_given_up() -> None:
    with WorkerProcess(limit_s=60) as worker:
        worker.ask("open", f"{FAKE},hangs=point")
        worker.limit_s = 0.2
        with pytest.raises(SubjectError, match=r"no answer within 0\.2 s"):
            worker.ask("run", "point")


def test_what_a_subject_printed_last_is_its_reason() -> None:
    with WorkerProcess(limit_s=60) as worker:
        worker.ask("open", f"{FAKE},dies=point")
        with pytest.raises(SubjectError, match="code 3: peers print to standard output"):
            worker.ask("run", "point")


def test_two_subjects_of_one_key_are_told_apart() -> None:
    rows, (failure,) = measure(f"{FAKE},skills=encode", f"{FAKE},skills=point")
    assert [row.key for row in rows] == ["fake"]
    assert "has its key, fake" in failure.reason
