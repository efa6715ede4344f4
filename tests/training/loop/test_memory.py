"""Memory that was freed stays with the process, where the C library is glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from training.loop.memory import keep_freed_memory

def faults() -> int:
    torch.zeros(40_000_000, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = [faults() for _ in range(3)]
keep_freed_memory()
after = [faults() for _ in range(3)]
print(before[2] - before[1], after[2] - after[1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_a_large_tensor_is_made_in_the_memory_of_the_one_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 1000, "pages of a tensor of 40 MB"
    assert after < 100
