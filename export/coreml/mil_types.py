"""The types that the interpreter of ML programs knows, and the error for unknown ones."""

from __future__ import annotations

import torch

from samclip_sdk.errors import BundleError

DTYPES = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int32": torch.int32,
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "uint32": torch.uint32,
}
"""MIL's name of an element type -> torch's dtype."""


class UnknownOperationError(BundleError):
    """An operation, a type or a parameter that the interpreter does not know."""


def require(condition: bool, what: str) -> None:
    """Raises UnknownOperationError about `what` if the condition is False."""
    if not condition:
        raise UnknownOperationError(f"the interpreter does not know {what}")
