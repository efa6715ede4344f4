"""What every refusal keeps to: the documented error, told in one line that names the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from pydantic import ValidationError

E = TypeVar("E", bound=BaseException)


def refused(call: Callable[[], object], error: type[E], *named: object) -> E:
    """Calls what must be refused.

    Args:
        call: without arguments.
        error: the error that is documented.
        named: what the text must name: values and words, not sentences.

    Returns:
        The error.
    """
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert text
    assert "\n" not in text or isinstance(caught.value, ValidationError)  # pydantic's own layout
    for each in named:
        assert str(each) in text, text
    return caught.value
