"""Large JSON files an entry at a time: of half a gigabyte of annotations the text is in memory.

As Python's objects, which never are there all at once, it would be several times that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def walk_json(path: Path, *, apart: str) -> Iterator[tuple[str, Any]]:
    """Yields the members of the object that a JSON file holds, by name and value, in their order.

    Args:
        path: of the file.
        apart: a member that is an array: its elements are yielded one by one, under its name.

    Raises:
        ValueError: it is no JSON file, or holds no object.
        OSError: it cannot be read.
    """
    cursor = _Cursor(path.read_text(encoding="utf-8"))
    cursor.take("{")
    if cursor.peek() == "}":
        return
    while True:
        name = cursor.name()
        cursor.take(":")
        if name == apart and cursor.peek() == "[":
            for element in cursor.elements():
                yield name, element
        else:
            yield name, cursor.value()
        if cursor.take(",}") == "}":
            return


class _Cursor:
    """A place in a JSON text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """The next symbol, past any space; empty at the end."""
        space = _SPACE.match(self.text, self.at)
        self.at = self.at if space is None else space.end()
        return self.text[self.at : self.at + 1]

    def take(self, symbols: str) -> str:
        """Goes past the next symbol, which must be one of some."""
        symbol = self.peek()
        if not symbol or symbol not in symbols:
            raise json.JSONDecodeError(f"Expecting {' or '.join(symbols)}", self.text, self.at)
        self.at += 1
        return symbol

    def name(self) -> str:
        """Goes past the name of a member."""
        start, name = self.at, self.value()
        if not isinstance(name, str):
            raise json.JSONDecodeError("Expecting a name", self.text, start)
        return name

    def value(self) -> Any:
        """Goes past the next value, and decodes it."""
        self.peek()
        value, self.at = _DECODER.raw_decode(self.text, self.at)
        return value

    def elements(self) -> Iterator[Any]:
        """Goes past the next array, and decodes its elements one by one."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return
