"""The machine and its state, as programs tell it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import onnx.parser
import psutil
import torch

from benchmarks.table import publishable
from samclip_sdk.system.hardware import ask_program
from samclip_sdk.system.packages import import_onnxruntime
from samclip_sdk.system.timing import elapsed_ms, repeat

_PROGRAMS = {
    "gpus": "nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit "
    "--format=csv,noheader",
    "power_mode": "nvpmodel -q",
    "power_source": "pmset -g ps",
}
"""What tells of GPUs, and of the power of a Jetson or a Mac."""
_PRODUCT = """
<ir_version: 8, opset_import: ["" : 17]>
product (float[n, n] left, float[n, n] right) => (float[n, n] out) { out = MatMul(left, right) }
"""


def describe_device() -> dict[str, Any]:
    """This machine, beside what every run tells; what a program tells is one line."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has no such thing
    told = {name: publishable(ask_program(*line.split())) for name, line in _PROGRAMS.items()}
    return {
        "usable_cores": (os.cpu_count() or 1) if affinity is None else len(affinity()),
        "memory_bytes": psutil.virtual_memory().total,
        **{name: text for name, text in told.items() if text},
    }


def describe_state() -> dict[str, Any]:
    """What the machine is doing now: the load of 1, 5 and 15 minutes."""
    return {"load_average": list(psutil.getloadavg())}


def fp32_gflops(sides: Sequence[int] = (1024, 2048, 3072), *, runs: int = 5) -> float:
    """10^9 operations a second in products of square matrices of fp32, all cores together.

    The most of torch and onnxruntime, of several sizes, and of several runs: a share of it is not
    flattered by a poor peak. On a Zen 5, torch reaches half of what onnxruntime does.
    """
    session = import_onnxruntime().InferenceSession(
        onnx.parser.parse_model(_PRODUCT).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    best = 0.0
    for side in sides:
        left, right = torch.ones(2, side, side)
        feed = {"left": left.numpy(), "right": right.numpy()}
        for product in (
            partial(torch.mm, left, right, out=torch.empty_like(left)),
            partial(session.run, None, feed),
        ):
            times_ms = repeat(partial(elapsed_ms, product), seconds=0, min_runs=1 + runs)
            best = max(best, 2 * side**3 / min(times_ms[1:]) / 1e6)
    return best
