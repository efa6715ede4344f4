"""One comparison of this device with eager torch, and the summary of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, computed_field, field_serializer

from samclip_sdk.system.records import Record

Tensors = Mapping[str, NDArray[np.generic]]
"""Key -> array, of a bundle's goldens."""


class Check(Record):
    """One comparison: the error measured here, and the bound that it must keep.

    An error that is not finite is null in JSON, which has no such numbers.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    name: str
    error: float
    bound: float

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def passed(self) -> bool:
        """Whether the error keeps its bound."""
        return self.error <= self.bound

    @field_serializer("error", when_used="json")
    def _finite(self, error: float) -> float | None:
        return error if math.isfinite(error) else None


def describe_failures(checks: Sequence[Check], *, subject: str) -> str:
    """The number of failed checks of `subject`, and the worst of them; empty if none failed."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return ""
    worst = max(failed, key=lambda check: check.error / max(check.bound, 1e-12))
    return (
        f"{len(failed)} of {len(checks)} checks failed on {subject}: {worst.name} is off by "
        f"{worst.error:.3g}, its bound is {worst.bound:.3g}"
    )
