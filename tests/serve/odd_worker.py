"""A worker without a model, which does what the image's content says; for tests of the pool."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

# The module alone: what the package imports would take most of a test's time.
WIRE = runpy.run_path(str(Path(__file__).parents[2] / "samclip_sdk" / "serve" / "wire.py"))
read_message, write_message = WIRE["read_message"], WIRE["write_message"]


def main() -> None:
    inlet, outlet = sys.stdin.buffer, sys.stdout.buffer
    opening = read_message(inlet)
    assert opening is not None
    if opening[0]["model"]["model"] == "broken":
        write_message(outlet, {"failed": "there is no such model"})
        return
    write_message(outlet, {"ready": {"name": "odd"}})
    while (message := read_message(inlet)) is not None:
        header, content = message
        started = time.perf_counter()
        if content == b"poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(b"slow"):
            time.sleep(0.2)
        if content == b"endless":
            time.sleep(60)
        for number, ask in zip(header["jobs"], header["asks"], strict=True):
            told = {"pid": os.getpid(), "together": len(header["jobs"]), "ask": ask}
            write_message(outlet, {"job": number, "status": 200}, json.dumps(told).encode())
        seconds = time.perf_counter() - started
        write_message(outlet, {"done": header["jobs"], "seconds": seconds, "cached": False})


if __name__ == "__main__":
    main()
