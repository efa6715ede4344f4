"""Checks of files and numbers that commands share, made before a model is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from samclip_sdk.cli.terminal import WrongUsageError
from samclip_sdk.errors import ImageError, one_line
from samclip_sdk.image.loading import no_such_file
from samclip_sdk.system.atomic_file import check_target


def check_output(path: Path, *, endings: Sequence[str]) -> None:
    """Refuses an output that cannot be written, before any work is done for it.

    Raises:
        WrongUsageError: its name has another ending.
        StorageError: it cannot be written there.
    """
    check_ending(path, endings=endings)
    check_target(path)


def check_sources(outputs: Iterable[Path], *, sources: Iterable[str]) -> None:
    """Refuses an output that would replace what it is made from.

    Raises:
        WrongUsageError: it is one of the sources.
    """
    read = {_identity(source) for source in sources} - {None}
    for path in outputs:
        if _identity(path) in read:
            raise WrongUsageError(f"{one_line(path)} is an input: give the output another name")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What a file is known by under any name; None if there is none, as behind a URL."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: NUL in the name
        return None
    return found.st_dev, found.st_ino


def check_ending(path: Path, *, endings: Sequence[str]) -> None:
    """Refuses a file whose name has another ending, since the ending tells the format.

    Raises:
        WrongUsageError: its name has another ending.
    """
    if path.suffix.lower() not in endings:
        raise WrongUsageError(f"{one_line(path)} must end in {_either(endings)}")


def _either(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def check_image(path: Path) -> None:
    """Refuses an image that does not exist, before a model is opened for it.

    Raises:
        ImageError: there is no such file.
    """
    try:
        there = path.exists()
    except (OSError, ValueError):  # ValueError: NUL in the name
        there = False
    if not there:
        raise ImageError(no_such_file(one_line(path)))


def read_numbers(text: str, *, option: str, counts: Sequence[int]) -> list[float]:
    """Reads numbers such as "12,34".

    Raises:
        WrongUsageError: the text holds something else, or the count is not in `counts`.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise WrongUsageError(f"{option} {text!r} is not {wanted} numbers with commas between")
    return numbers
