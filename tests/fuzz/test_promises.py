"""What looks at answers would find each kind of fault."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import Classification, SamClipError
from tests.fuzz.promises import holds, judge

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["os._exit(9)", "time.sleep(99)"])
def test_what_a_crash_or_a_hang_was_given_is_kept(tmp_path: Path, fault: str) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from hypothesis import strategies as st\n"
        "from tests.fuzz import cases\n"
        f"cases.RUNS, cases.LIMIT_S = Path({str(tmp_path)!r}), 2\n"
        "@cases.fuzz(100, number=st.integers(0, 99))\n"
        f"def test_it(number): assert number < 50 or {fault}\n"
    )
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(line, cwd=ROOT, env=environment, capture_output=True).returncode != 0
    assert (tmp_path / "test_it.txt").read_text().startswith("{'number': ")


def raises(error: BaseException) -> Callable[[Path], object]:
    def call(folder: Path) -> None:
        raise error

    return call


def answers(*probs: float) -> Classification:
    return Classification(["a", "b"], np.array(probs, np.float32), np.zeros(2), np.zeros(2))


@pytest.mark.parametrize(
    "call",
    [
        *map(raises, (ValueError("no"), SystemExit(3), SamClipError("two\nlines here"))),
        *map(raises, (SamClipError("wordless"), SamClipError("very " * 1000))),
        lambda folder: warnings.warn("of nothing", RuntimeWarning, 1),
        lambda folder: (folder / "left.json").touch(),
        lambda folder: answers(0.5, 0.4),
        lambda folder: answers(np.nan, 1.0),
    ],
)
def test_what_breaks_a_promise(tmp_path: Path, call: Callable[[Path], object]) -> None:
    def check(answer: object) -> None:
        if answer is not None:
            holds(answer)

    with pytest.raises((AssertionError, ValueError)):
        judge(lambda: call(tmp_path), folder=tmp_path, check=check)
    assert not list(tmp_path.iterdir())


def test_what_keeps_them(tmp_path: Path) -> None:
    refused = raises(SamClipError("the value 5 is too large"))
    assert judge(lambda: refused(tmp_path), folder=tmp_path) == "refusal"
    touch = (tmp_path / "left.json").touch
    assert judge(touch, folder=tmp_path, writes=("*.json",)) == "answer"
    assert judge(lambda: answers(0.5, 0.5), folder=tmp_path, check=holds) == "answer"
