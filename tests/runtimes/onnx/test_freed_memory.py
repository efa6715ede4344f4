"""What opening a graph took goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import resource
from pathlib import Path

import pytest

from samclip_sdk.runtimes.onnx.freed_memory import return_freed_memory

BLOCKS, SIZE = 2000, 50_000  # 100 MB, of blocks that malloc gives out of its heap


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a way to be asked")
def test_freed_memory_goes_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks[:-1]:  # The last holds the heap up: free alone gives nothing back.
        libc.free(block)
    before = resident_bytes()
    return_freed_memory()
    given_back = before - resident_bytes()
    libc.free(blocks[-1])
    assert given_back > BLOCKS * SIZE / 2
