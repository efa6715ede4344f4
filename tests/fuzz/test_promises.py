"""What looks at answers would find each kind of fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import Classification, SamClipError
from tests.fuzz.promises import holds, judge


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
