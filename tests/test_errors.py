from __future__ import annotations

import pytest

from samclip_sdk import errors


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        ("a b/Zürich.png", "a b/Zürich.png"),
        ("two\nlines\x1b[31m", r"two\nlines\x1b[31m"),
        ("\ud800\0", r"\ud800\x00"),
        (3, "3"),
    ],
)
def test_a_foreign_name_is_one_line_that_can_be_printed(foreign: object, words: str) -> None:
    assert errors.one_line(foreign) == words


def test_a_long_foreign_name_keeps_its_two_ends() -> None:
    name = errors.one_line("begin" + "x" * 60_000 + "end.onnx")
    assert len(name) < 310
    assert name.startswith("begin")
    assert name.endswith("end.onnx")
