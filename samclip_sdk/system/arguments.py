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


def check_flag(value: object, *, name: str) -> None:
    """Refuses a flag that is neither True nor False: "no" would count as yes.

    Raises:
        PromptError: it is something else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise PromptError(f"{name} is {one_line(repr(value))}; it must be True or False")


def check_integer(value: object, *, name: str, least: int) -> None:
    """Refuses a number that is not whole, is True or False, or is too small.

    Raises:
        PromptError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise PromptError(f"{name} is {one_line(repr(value))}; it must be a whole number")
    if value < least:
        raise PromptError(f"{name} is {value}; it must be {least} or more")
