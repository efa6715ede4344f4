"""A server as a process, and clients as threads, on the loopback interface."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

BOUNDARY = "samclip-benchmark"

Request = tuple[str, str, bytes]  # path, content type, body


class Server:
    """A running `samclip serve`: where it is, and which worker processes it has had."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.pid, self.lines = process.pid, process.stderr
        self.workers, self.address = list[int](), ""
        while not self.address:
            self._read(next(self.lines, ""))
        self.listening = threading.Thread(target=lambda: list(map(self._read, self.lines)))
        self.listening.start()

    def _read(self, line: str) -> None:
        if not line.startswith("{"):
            raise ValueError(f"samclip serve does not start: {line}")
        told = json.loads(line)
        if told["event"] == "worker ready":
            self.workers.append(told["worker"])
        elif told["event"] == "serving":
            self.address = told["address"]


@contextmanager
def serving(model: str, *options: str) -> Iterator[Server]:
    """Starts a server on a free port, and stops it."""
    command = [sys.executable, "-m", "samclip_sdk", "serve", model, "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            server = Server(process)
            yield server
        finally:
            process.terminate()
        server.listening.join()


def as_new(picture: bytes) -> bytes:
    """The same picture as another file: no server has seen it, however often it was sent."""
    return picture + uuid.uuid4().bytes  # behind its end, where no decoder looks


def upload(path: str, picture: bytes, asked: dict[str, Any]) -> Request:
    """A request with a picture as a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"\r\n\r\n'
    file = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = f"{head}{json.dumps(asked)}{file}".encode() + picture + f"\r\n--{BOUNDARY}--".encode()
    return path, f"multipart/form-data; boundary={BOUNDARY}", body


def box_request(key: str, box: list[float]) -> Request:
    """A request for the mask of a box in a picture that the server has."""
    asked = {"images": [{"id": key}], "boxes": box, "multimask_output": False}
    return "/v1/segment", "application/json", json.dumps(asked).encode()


@contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    """A connection to a server, which is closed."""
    with closing(http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=300)) as own:
        yield own


def post(connection: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    """Sends a request: the status and the body of the answer."""
    path, content_type, body = request
    connection.request("POST", path, body, {"Content-Type": content_type})
    answer = connection.getresponse()
    return answer.status, answer.read()


def store(server: Server, picture: bytes) -> str:
    """Has the server keep a picture, and returns its id."""
    with connected(server) as connection:
        _, answer = post(connection, upload("/v1/images", picture, {}))
    key: str = json.loads(answer)["answers"][0]["id"]
    return key


def boxes_of(count: int) -> list[list[float]]:
    """Boxes, each another one, in pictures of 1024 pixels on the long side."""
    corners = np.random.default_rng(0).uniform(0.05, 0.45, (count, 4)) * 600
    return [[x, y, x + 60 + width, y + 60 + height] for x, y, width, height in corners.tolist()]


def send_all(
    server: Server, requests: Sequence[Request], *, clients: int, on_answer: Callable[[], None]
) -> tuple[float, list[float], Counter[int]]:
    """Sends requests by so many clients: seconds for all, milliseconds of each, statuses."""
    own = threading.local()  # a connection a client

    def connect(stack: ExitStack) -> None:
        own.connection = stack.enter_context(connected(server))

    def send(request: Request) -> tuple[float, int]:
        since = time.perf_counter()
        status, _ = post(own.connection, request)
        took_ms = 1000 * (time.perf_counter() - since)
        on_answer()
        return took_ms, status

    with ExitStack() as stack:
        pool = ThreadPoolExecutor(clients, initializer=connect, initargs=(stack,))
        started = time.perf_counter()
        with pool:
            answers = list(pool.map(send, requests))
        seconds = time.perf_counter() - started
    took_ms, statuses = zip(*answers, strict=True)
    return seconds, list(took_ms), Counter(statuses)
