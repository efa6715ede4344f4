"""Nothing that is given makes the package break a promise: see `oracle`. `make fuzz` tries more."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samclip_sdk import Classification, SamClipError
from tests.fuzz import faulty
from tests.fuzz.campaign import run_subject
from tests.fuzz.oracle import Case, holds, judge
from tests.fuzz.subjects import SUBJECTS, shares
from tests.fuzz.world import World, new_world

ROOT = Path(__file__).parents[2]
EXAMPLES = {"commands": 5, "videos": 8, "iterators": 8, "texts": 15, "http": 20}
"""Fewer of what takes long; of all others 30."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.mark.parametrize("subject", sorted(SUBJECTS))
def test_promises_hold(subject: str, world: World) -> None:
    draw = SUBJECTS[subject](world)

    # Hypothesis draws what the campaign draws from a seed, and makes what fails small.
    @settings(max_examples=EXAMPLES.get(subject, 30), suppress_health_check=list(HealthCheck))
    @given(rng=st.randoms(use_true_random=False))
    def try_one(rng: Random) -> None:
        case = draw(rng)
        verdict = judge(case, folder=world.folder)
        assert verdict.kind != "failure", f"{case.what}: {verdict.why}"

    try_one()


@pytest.mark.slow
@pytest.mark.parametrize("subject", sorted(SUBJECTS))
def test_promises_hold_20_000_times(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    count = shares(20_000)[subject]
    tally = run_subject(
        subject,
        opened=SUBJECTS[subject],
        indices=range(count),
        seed=0,
        on_case=lambda tally: None,
    )
    assert tally.failures == []
    assert tally.answers + tally.refusals == count
    assert tally.answers
    assert tally.refusals


def test_all_cases_are_given_to_somebody() -> None:
    assert sum(shares(20_000).values()) == 20_000
    assert min(shares(1).values()) == 1
    assert list(shares(1)) == list(SUBJECTS)


@pytest.mark.slow
def test_a_crash_and_a_hang_are_failures_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    told: list[int] = []
    tally = run_subject(
        "faulty",
        opened=faulty.subject,
        indices=range(4),
        seed=16,
        on_case=lambda tally: told.append(tally.cases),
        limit_s=5,
    )
    assert [what for _, what, _ in tally.failures] == ["ends", "waits"]
    assert [why.partition(":")[0] for _, _, why in tally.failures] == ["crashes", "hangs"]
    assert (tally.answers, told) == (2, [1, 2, 3, 4])


class TestOracle:
    """It would find each kind of failure."""

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (ValueError("no"), "ValueError"),
            (SamClipError("two\nlines here"), "two"),
            (SamClipError("wordless"), "wordless"),
            (SamClipError("very " * 1000), "very"),
            (SystemExit(3), "SystemExit"),
        ],
    )
    def test_other_errors(self, tmp_path: Path, error: BaseException, why: str) -> None:
        def run() -> None:
            raise error

        verdict = judge(Case("it", run), folder=tmp_path)
        assert (verdict.kind, why in verdict.why) == ("failure", True)

    def test_a_refusal_of_one_line(self, tmp_path: Path) -> None:
        def run() -> None:
            raise SamClipError("the value 5 is too large")

        assert judge(Case("it", run), folder=tmp_path).kind == "refusal"

    def test_warnings_and_files(self, tmp_path: Path) -> None:
        def warn() -> None:
            warnings.warn("of nothing", RuntimeWarning, stacklevel=1)

        assert judge(Case("it", warn), folder=tmp_path).why.startswith("warns: RuntimeWarning")
        leaving = Case("it", lambda: (tmp_path / "left.json").write_text("x"))
        assert "left.json" in judge(leaving, folder=tmp_path).why
        assert not list(tmp_path.iterdir())
        assert judge(replace(leaving, writes=("*.json",)), folder=tmp_path).kind == "answer"

    @pytest.mark.parametrize("probs", [[0.5, 0.4], [np.nan, 1.0]])
    def test_answers_that_do_not_hold(self, tmp_path: Path, probs: list[float]) -> None:
        array = np.array(probs, dtype=np.float32)
        answer = Classification(["a", "b"], array, np.zeros(2), np.zeros(2))
        case = Case("it", lambda: answer, check=holds)
        assert judge(case, folder=tmp_path).kind == "failure"
