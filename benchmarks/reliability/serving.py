"""`samclip serve` for a while, with clients that never send one picture twice."""

from __future__ import annotations

import base64
import io
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from benchmarks.reliability.made_pictures import make_picture
from benchmarks.reliability.samples import Sample, take_sample

CLIENTS = 2
SAMPLES = 100
WARM_UP = 0.1
PATIENCE_S = 120

# What is kept of pictures is bounded; so small, it is full before the first sample.
_BOUNDS = ("--body-mb", "8", "--pictures-mb", "8", "--embeddings-mb", "8")


def run_serve(
    model: str,
    *,
    labels: tuple[str, ...],
    minutes: float,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> list[Sample]:
    """Serves a model, asks it all the time, and samples its processes, all together.

    Args:
        model: a bundle, or an embedded one's name.
        labels: that are asked for in every picture.
        minutes: how long; samples, in minutes, begin after `WARM_UP` of them.
        seed: of the pictures.
        on_progress: told how many seconds are over, of how many.

    Raises:
        ValueError: the server does not start, or an answer is an error.
    """
    numbers, stop, faults = itertools.count(), threading.Event(), []
    samples: list[Sample] = []

    def ask(address: str) -> None:
        while not stop.is_set():
            try:
                _ask(address, index=next(numbers), labels=labels, seed=seed)
            except OSError as error:  # HTTPError is one
                faults.append(error)
                return

    with _server(model) as (process, address):
        clients = [threading.Thread(target=ask, args=(address,)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        start = time.monotonic()
        try:
            while (over := (time.monotonic() - start) / 60) < minutes and not faults:
                if over >= WARM_UP * minutes:
                    samples.append(take_sample(process, at=over, with_children=True))
                on_progress(int(60 * over), int(60 * minutes))
                time.sleep(60 * minutes / SAMPLES)
        finally:
            stop.set()
            for client in clients:
                client.join()
    if faults:
        raise ValueError(f"the server answered with an error: {faults[0]}")
    return samples


def _ask(address: str, *, index: int, labels: tuple[str, ...], seed: int) -> None:
    buffer = io.BytesIO()
    make_picture(index, seed=seed).save(buffer, "PNG")
    picture = {"base64": base64.b64encode(buffer.getvalue()).decode()}
    content = {"images": [picture], "labels": labels, "threshold": 0, "instances": True}
    request = urllib.request.Request(
        f"{address}/v1/text",
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        json.load(answer)


@contextmanager
def _server(model: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server that is ready; SIGTERM ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("--port", str(port), "--runtime", "onnx", "--threads", "1", "--log-level", "error")
    command = [sys.executable, "-m", "samclip_sdk", "serve", model, *words, *_BOUNDS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(process, address := f"http://127.0.0.1:{port}")
            yield psutil.Process(process.pid), address
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[str], address: str) -> None:
    for _ in range(10 * PATIENCE_S):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=PATIENCE_S):
                return
        except OSError:
            time.sleep(0.1)
        if process.poll() is not None:
            assert process.stderr is not None
            raise ValueError(f"samclip serve does not start: {process.stderr.read()}")
    raise ValueError(f"samclip serve is not ready after {PATIENCE_S} s")
