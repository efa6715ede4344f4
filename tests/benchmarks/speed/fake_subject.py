"""Subjects whose costs and failures are known; each is opened in a worker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.speed.subject import WORKLOADS, Opened

LEAK_BYTES = 20_000_000
_KEPT: list[bytes] = []


def leak() -> None:
    _KEPT.append(b"\1" * LEAK_BYTES)


@dataclass(frozen=True)
class Fake:
    """Sleeps in every workload but those that leak, fail, end the process or never come back."""

    key: str = "fake"
    sleep_ms: int = 4
    skills: str = "+".join(WORKLOADS)
    leaks: str = ""
    fails: str = ""
    dies: str = ""
    hangs: str = ""
    adds_up: bool = False

    def open(self) -> Opened:
        if self.fails == "open":
            raise RuntimeError("the weights at /home/someone/weights.bin are\nnot there")
        print("peers print to standard output", flush=True)
        return Opened(
            name="a fake",
            packages=("numpy", "absent"),
            notes="sleeps",
            artifact_bytes=1_000_000,
            workloads=self._workloads(),
            adds_up=self.adds_up,
        )

    def _steps(self) -> dict[str, float]:
        self._sleep()
        return {"sleep": float(self.sleep_ms), "other": 1.0}

    def _workloads(self) -> Mapping[str, Callable[[], object]]:
        acts: dict[str, Callable[[], object]] = {
            self.leaks: leak,
            self.fails: self._fail,
            self.dies: lambda: os._exit(3),
            self.hangs: lambda: time.sleep(60),
        }
        if self.skills == "three_ways":
            acts["three_ways"] = self._steps
        return {name: acts.get(name, self._sleep) for name in self.skills.split("+")}

    def _sleep(self) -> None:
        time.sleep(self.sleep_ms / 1000)

    def _fail(self) -> None:
        raise ValueError("no such skill")
