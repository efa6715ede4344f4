"""LiteRT's interpreter, on the CPU by XNNPACK, without its note on stderr."""

from __future__ import annotations

from functools import cache
from typing import Any

from samclip_sdk.system.native_output import quiet_stderr
from samclip_sdk.system.packages import import_runtime

IDENTITY = bytes.fromhex(
    "1c00000054464c3314001800140010000c0000000800000000000400140000001400000084000000900000004401"
    "000003000000010000001000000000000a0010000c00080004000a0000000c000000140000003400000004000000"
    "6d61696e00000000010000000c00000008000c000800040008000000010000000400000001000000790000000100"
    "00000c00000000000600080004000600000004000000010000007800000001000000080000000400040004000000"
    "01000000100000000c00140010000c00080004000c000000100000003c0000004000000044000000010000001000"
    "000000000a000c000000080004000a000000080000000c0000000100000001000000010000000000000001000000"
    "010000000100000000000000020000003000000004000000e4ffffff080000000c00000001000000790000000100"
    "0000010000000c000c0008000000000004000c000000080000000c00000001000000780000000100000001000000"
    "01000000100000000c000c000b000000000004000c0000001300000000000013"
)
"""A .tflite file of one number through a ReLU."""


@cache
def import_interpreter() -> Any:
    """Imports the module of LiteRT's interpreter.

    The first interpreter of a process writes to stderr that XNNPACK is used, and no setting keeps
    it from it. So the first one is made here, of the smallest file, and its note goes nowhere.

    Raises:
        RuntimeMissingError: LiteRT is not installed.
    """
    module = import_runtime("ai_edge_litert.interpreter", extra="litert")
    with quiet_stderr():
        module.Interpreter(model_content=IDENTITY).allocate_tensors()
    return module
