from __future__ import annotations

import inspect

import pytest

from samclip_sdk import errors

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_every_class_is_in_the_tree(error: type[Exception]) -> None:
    assert issubclass(error, (errors.SamClipError, errors.SamClipWarning))
    assert error.__doc__


def test_what_a_caller_may_catch() -> None:
    assert issubclass(errors.BundleTamperedError, errors.BundleError)
    assert issubclass(errors.BundleSchemaError, errors.BundleError)
    assert issubclass(errors.SamClipWarning, UserWarning)


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
