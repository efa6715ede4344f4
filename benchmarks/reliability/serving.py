"""`samclip serve` for a while, with clients that never send one picture twice."""

from __future__ import annotations

import base64
import io
import itertools
import json
import threading
import time
from collections.abc import Callable

import psutil

from benchmarks.reliability.memory import Sample, take_sample
from benchmarks.reliability.questions import make_picture
from benchmarks.serve.load import Request, Server, connected, post, serving

CLIENTS = 2
SAMPLES = 100
WARM_UP = 0.1

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

    Samples, in minutes, begin after `WARM_UP` of them. `on_progress` is told how many seconds are
    over, of how many.

    Raises:
        ValueError: the server does not start, or an answer is an error.
    """
    numbers, stop, faults = itertools.count(), threading.Event(), []
    samples: list[Sample] = []

    def ask(server: Server) -> None:
        try:
            with connected(server) as connection:
                while not stop.is_set():
                    request = _request(next(numbers), labels=labels, seed=seed)
                    status, said = post(connection, request)
                    if status != 200:
                        raise OSError(f"{status}: {said.decode()}")
        except OSError as error:
            faults.append(error)

    with serving(model, "--runtime", "onnx", "--threads", "1", *_BOUNDS) as server:
        process = psutil.Process(server.pid)
        clients = [threading.Thread(target=ask, args=(server,)) for _ in range(CLIENTS)]
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


def _request(index: int, *, labels: tuple[str, ...], seed: int) -> Request:
    buffer = io.BytesIO()
    make_picture(index, seed=seed).save(buffer, "PNG")
    picture = {"base64": base64.b64encode(buffer.getvalue()).decode()}
    asked = {"images": [picture], "labels": labels, "threshold": 0}
    return "/v1/instances", "application/json", json.dumps(asked).encode()
