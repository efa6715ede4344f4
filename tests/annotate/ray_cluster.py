"""Two machines of a Ray cluster on one: a raylet each, in a network namespace each if possible."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORT = 46379
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 otherwise: starved on a machine that has other work
    "SOURCE_DATE_EPOCH": "1700000000",
}


class Machine:
    """A network namespace with an address, or this machine as it is, and what was started there."""

    def __init__(self, namespace: str | None, address: str) -> None:
        self.address = address
        self._within = ["ip", "netns", "exec", namespace] if namespace else []
        self._started: list[subprocess.Popen[str]] = []

    def start(self, words: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Starts a process as the head of a group of its own."""
        process = subprocess.Popen(
            [*self._within, *words],
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        self._started.append(process)
        return process

    def start_node(self, *words: str, folder: str) -> None:
        """A raylet with two CPUs; its workers are of its session, and die with it."""
        ray = str(Path(sys.executable).with_name("ray"))
        own = ["--num-cpus=2", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
        own += [f"--node-ip-address={self.address}", "--block"]
        with (Path(folder) / f"{self.address}.log").open("w") as log:
            self.start([ray, "start", *words, *own], stdout=log, stderr=log)

    def kill(self) -> None:
        """As a power cut: nothing that was started here goes on."""
        for pid in [pid for each in self._started for pid in descendants(each.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for each in self._started:
            if each.stdout is None:
                each.wait()


def descendants(pid: int) -> list[int]:
    """A process and all that came of it, the oldest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    own = children.read_text().split() if children.exists() else []
    return [pid, *(each for child in own for each in descendants(int(child)))]


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine, str]]:
    """The head, another node that has joined it, and the head's address."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets' names are short
    with _namespaces() as (head, other):
        try:
            address = f"{head.address}:{PORT}"
            words = ("--head", f"--port={PORT}", "--include-dashboard=false")
            head.start_node(*words, f"--temp-dir={folder}", folder=folder)
            _wait(head, address)
            other.start_node(f"--address={address}", f"--temp-dir={folder}", folder=folder)
            yield head, other, address
        finally:
            other.kill()
            head.kill()
            shutil.rmtree(folder, ignore_errors=True)


def _wait(head: Machine, address: str) -> None:
    """Until the head answers: a node that comes before it gives up."""
    host, _, port = address.partition(":")
    knock = f"import socket; socket.create_connection(({host!r}, {port}), timeout=1)"
    for _ in range(120):
        if head.start([sys.executable, "-c", knock], stderr=subprocess.DEVNULL).wait() == 0:
            return
        time.sleep(0.5)
    raise TimeoutError(f"no Ray at {address}")


@contextmanager
def _namespaces() -> Iterator[tuple[Machine, Machine]]:
    """Two namespaces with a cable between them; where the user may not, this machine twice."""
    names = [f"samclip{os.getpid()}{each}" for each in "ab"]
    cable = [f"sc{os.getpid()}{each}" for each in "ab"]
    addresses = ["10.213.7.1", "10.213.7.2"]
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
            for name, end, address in zip(names, cable, addresses, strict=True):
                _ip("link", "set", end, "netns", name)
                _ip("-n", name, "address", "add", f"{address}/24", "dev", end)
                for device in ("lo", end):
                    _ip("-n", name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError):
            yield Machine(None, "127.0.0.1"), Machine(None, "127.0.0.1")
        else:
            yield Machine(names[0], addresses[0]), Machine(names[1], addresses[1])
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
