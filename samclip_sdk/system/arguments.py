"""Checks of the arguments of public calls; an error names the argument and its value."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from samclip_sdk.errors import PromptError, one_line

_LARGEST = float(np.finfo(np.float32).max)


def finite_number(value: object, *, name: str) -> float:
    """A caller's number as a float that float32 can hold.

    Raises:
        PromptError: it is no such number.
    """
    if not isinstance(value, Real):
        raise PromptError(f"{name} is {one_line(repr(value))}; it must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        raise PromptError(f"{name} is {number:g}; it must be finite")
    return number


def number_within(
    value: object, *, name: str, minimum: float | None = None, maximum: float | None = None
) -> float:
    """A caller's number as a float within bounds; None is no bound.

    Raises:
        PromptError: it is no such number.
    """
    number = finite_number(value, name=name)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f"{minimum:g} or more" if maximum is None else f"from {minimum:g} to {maximum:g}"
        raise PromptError(f"{name} is {number:g}; it must be {bounds}")
    return number


def check_flag(value: object, *, name: str) -> bool:
    """A caller's flag, which must be True or False: "no" would count as yes.

    Raises:
        PromptError: it is something else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise PromptError(f"{name} is {one_line(repr(value))}; it must be True or False")
    return bool(value)


def check_integer(value: object, *, name: str, minimum: int) -> None:
    """Refuses a number that is not whole, is True or False, or is too small.

    Raises:
        PromptError: it is something else.
    """
    integer_within(value, name=name, minimum=minimum)


def integer_within(
    value: object, *, name: str, minimum: float | None, maximum: float | None = None
) -> int:
    """A caller's whole number within bounds; None is no bound. True and False are none.

    Raises:
        PromptError: it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise PromptError(f"{name} is {one_line(repr(value))}; it must be a whole number")
    number = int(value)
    if minimum is not None and number < minimum:
        raise PromptError(f"{name} is {number}; it must be {minimum:g} or more")
    if maximum is not None and number > maximum:
        raise PromptError(f"{name} is {number}; it must be {maximum:g} or less")
    return number
