"""Records of JSON files: frozen pydantic models, and the first fault of a file in one line."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
)

from samclip_sdk.errors import one_line


def check_relative_path(path: str) -> str:
    """Returns `path` if it is relative, with forward slashes, and stays inside its folder.

    Raises:
        ValueError: it is absolute, climbs out, cannot be printed, or means different things on
            different systems.
    """
    climbs = any(part in ("", ".", "..") for part in path.split("/"))
    if climbs or not path.isprintable() or re.search(r"[\\:]", path):
        raise ValueError(f"{one_line(path)!r} is not a plain relative path inside the bundle")
    return path


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it must be one line of letters that can be printed")
    return text


Line = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_check_printable)
]
"""A name or a note that tables and messages show unchanged."""


RelativePath = Annotated[str, AfterValidator(check_relative_path)]


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A part of a manifest or of a report: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


MAX_VALUES = 25_000
"""The most values that a manifest may hold, in lists and under keys, at any depth: seven times as
many as the default model's."""


_LONGEST_FAULT = 500  # letters


def check_values(content: bytes, *, max_values: int = MAX_VALUES) -> None:
    """Refuses a JSON file with more than `max_values` values.

    Validation goes on after a fault, and keeps a kilobyte or two for each: one million numbers
    where objects must be, a file of two megabytes, would take gigabytes.

    Raises:
        ValueError: the file has more.
    """
    if content.count(b",") >= max_values:  # without commas, values are nested
        raise ValueError(f"it holds more than {max_values} values")


def first_fault(error: ValidationError) -> str:
    """The first fault of a JSON file and its place, on one line of limited length.

    A field that is missing comes last: another may be its name, misspelt.
    """
    fault = min(error.errors(include_url=False), key=lambda each: each["type"] == "missing")
    where = ".".join(str(part) for part in fault["loc"])
    message = one_line(fault["msg"].removeprefix("Value error, "), limit=_LONGEST_FAULT)
    return f"{one_line(where)}: {message}" if where else message
