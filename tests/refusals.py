"""What every refusal promises: its documented type, and one line of text that names the value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

LONGEST_MESSAGE = 1000  # letters; a path alone may have 300 of them


def check_refused(call: Callable[[], object], error: type[Exception], word: str) -> None:
    """Calls, and checks how that is refused.

    Args:
        call: what is to be refused.
        error: the documented type, and no subclass of it.
        word: the value that the message must name.
    """
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    check_line(str(caught.value), word)


def check_line(message: str, word: str) -> None:
    """Checks that a message is one line that a terminal can show, and names a value."""
    assert message.isprintable(), repr(message)
    assert " " in message
    assert len(message) <= LONGEST_MESSAGE
    assert word in message, message
