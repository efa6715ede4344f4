"""How fast `samclip serve` is beside the SDK in process: `python -m benchmarks serve`.

A server is a process, its clients are threads, on the loopback interface. The SDK and the clients
do the same work in turn, on the same machine.
"""

from __future__ import annotations

import http.client
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import typer
from PIL import Image, ImageOps

from benchmarks.intervals import over_rounds
from benchmarks.pages import ROOT
from benchmarks.suite import Measuring, ModelName, Rounds
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.image.loading import load_image

LABELS = ["dog", "cat", "person"]
ONE_BY_ONE, READ_AHEAD, SIDE_BY_SIDE = "one by one", "read ahead", "side by side"
"""The SDK in process: in a loop; the images as an iterator, of which it reads the next ones
meanwhile; or in as many threads as there are cores, each on one thread of the runtime."""

CLIENTS = (1, 4, 16)
LONG_SIDE_PX = 1024
BOUNDARY = "samclip-benchmark"

Given = TypeVar("Given")

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


def distinct_images(count: int) -> list[bytes]:
    """JPEG files of the repository's photographs, as often as needed, each with other pixels."""
    files = itertools.cycle(sorted((ROOT / "examples" / "images").glob("*.jpg")))
    found = []
    for number, path in zip(range(count), files, strict=False):
        image = ImageOps.contain(Image.fromarray(load_image(path)), (LONG_SIDE_PX, LONG_SIDE_PX))
        pixels = np.array(image)
        pixels[:8, :8] = np.random.default_rng(number).integers(0, 256, (8, 8, 3))
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, format="JPEG", quality=90)
        found.append(content.getvalue())
    return found


def as_new(image: bytes) -> bytes:
    """The same image as another file: no server has seen it, however often it was sent."""
    return image + uuid.uuid4().bytes  # behind its end, where no decoder looks


def upload(path: str, image: bytes, question: dict[str, Any]) -> Request:
    """A request with an image as a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"\r\n\r\n'
    file = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = f"{head}{json.dumps(question)}{file}".encode() + image + f"\r\n--{BOUNDARY}--".encode()
    return path, f"multipart/form-data; boundary={BOUNDARY}", body


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


def store(server: Server, image: bytes) -> str:
    """Has the server keep an image, and returns its id."""
    with connected(server) as connection:
        _, answer = post(connection, upload("/v1/images", image, {}))
    key: str = json.loads(answer)["answers"][0]["id"]
    return key


def boxes_of(count: int) -> list[list[float]]:
    """Boxes, each another one, in images of 1024 pixels on the long side."""
    corners = np.random.default_rng(0).uniform(0.05, 0.45, (count, 4)) * 600
    return [[x, y, x + 60 + width, y + 60 + height] for x, y, width, height in corners.tolist()]


def send_all(
    server: Server, requests: Sequence[Request], *, clients: int
) -> Iterator[tuple[float, int]]:
    """Sends requests by so many clients: milliseconds and status of each, in their order."""
    own = threading.local()  # a connection a client

    def send(request: Request) -> tuple[float, int]:
        since = time.perf_counter()
        status, _ = post(own.connection, request)
        return 1000 * (time.perf_counter() - since), status

    with ExitStack() as stack:

        def connect() -> None:
            own.connection = stack.enter_context(connected(server))

        with ThreadPoolExecutor(clients, initializer=connect) as pool:
            yield from pool.map(send, requests)


def compare(
    measured: Measuring,
    name: str,
    in_process: Mapping[str, Callable[[], object]],
    requests: Callable[[], Sequence[Request]],
    *,
    server: Server,
    count: int,
    rounds: int,
) -> None:
    """Has the SDK and the clients do the same work in turn, `count` images or prompts.

    A ratio is of a rate and that of the SDK one by one, which is among the ways in process, in the
    same round. Times are of all requests; what failed got another status than 200.
    """
    answers: dict[int, list[tuple[float, int]]] = {clients: [] for clients in CLIENTS}

    def send(clients: int) -> None:
        answers[clients] += send_all(server, requests(), clients=clients)

    works = dict(in_process)
    works |= {str(clients): partial(send, clients) for clients in CLIENTS}
    found = measured.in_turn(works, name, rounds=rounds)
    for way, times_ms in found.items():
        ratios = [first / own for first, own in zip(found[ONE_BY_ONE], times_ms, strict=True)]
        ratio = None if way == ONE_BY_ONE else over_rounds(ratios)
        a_second = over_rounds([1000 * count / each for each in times_ms])
        measured.add(name, way, a_second=a_second, ratio=ratio)
    for clients, every in answers.items():
        took_ms, statuses = zip(*every[count:], strict=True)  # of the rounds that count
        p50, p99 = np.percentile(took_ms, [50, 99]).tolist()
        failed = sum(each != 200 for each in statuses)
        measured.add(name, str(clients), n=len(took_ms), p50_ms=p50, p99_ms=p99, failed=failed)


def spread(answer: Callable[[Given], str], asked: Sequence[Given]) -> list[str]:
    """Answers in as many threads as there are cores, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(answer, asked))


def kill_in_the_middle(server: Server, requests: Sequence[Request], *, clients: int) -> int:
    """Kills a worker when half of the requests are answered, and counts what is answered."""
    answered = 0
    for number, (_, status) in enumerate(send_all(server, requests, clients=clients)):
        if number == len(requests) // 2:
            os.kill(server.workers[0], signal.SIGKILL)
        answered += status == 200
    return answered


def serve(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Annotated[str, typer.Option(help="onnx or openvino")] = "onnx",
    precision: Annotated[str, typer.Option(help="of its graphs")] = "fp32",
    workers: Annotated[int, typer.Option(min=1, help="of the server")] = 2,
    images: Annotated[int, typer.Option(min=2, help="of a round")] = 48,
    boxes: Annotated[int, typer.Option(min=2, help="of a round")] = 192,
    rounds: Rounds = 5,
) -> None:
    """Holds throughput and times against the SDK in process, one by one; kills a worker too.

    That is the throughput of a server, and of the SDK's other ways in process.

    The machine should be idle: the clients need a part of it as well.
    """
    found, asked = distinct_images(images), boxes_of(boxes)
    samclip = measured.of(SamClip.load(runtime, model=model, precision=precision))
    single = SamClip.load(runtime, model=model, precision=precision, threads=1)
    on, at_once = f", {runtime} {precision}", runtime == "onnx"  # others compute a call at a time
    path = ("--runtime", runtime, "--precision", precision)

    def text(model: SamClip, image: bytes) -> str:
        return model.segment_text(image, LABELS).to_json()

    def ahead() -> list[str]:
        return [each.to_json() for each in samclip.segment_text(iter(found), LABELS)]

    def mask(model: SamClip, image: ImageEmbedding, box: list[float]) -> str:
        return model.segment(image, boxes=box, multimask_output=False).to_json()

    def uploads() -> list[Request]:
        return [upload("/v1/text", as_new(each), {"labels": LABELS}) for each in found]

    with serving(model, *path, "--workers", str(workers)) as server:
        of_ways = partial(compare, measured, server=server, rounds=rounds)
        ways: dict[str, Callable[[], object]] = {
            ONE_BY_ONE: lambda: [text(samclip, each) for each in found],
            READ_AHEAD: ahead,
        }
        if at_once:
            ways[SIDE_BY_SIDE] = partial(spread, partial(text, single), found)
        of_ways("three labels of a new image" + on, ways, uploads, count=images)
        one = partial(mask, samclip, samclip.encode_image(found[0]))
        ways = {ONE_BY_ONE: lambda: [*map(one, asked)]}
        if at_once:
            of_one = partial(mask, single, single.encode_image(found[0]))
            ways[SIDE_BY_SIDE] = partial(spread, of_one, asked)
        shared = {"images": [{"id": store(server, found[0])}], "multimask_output": False}
        of_boxes = [
            ("/v1/segment", "application/json", json.dumps(shared | {"boxes": box}).encode())
            for box in asked
        ]
        of_ways("a box of one image" + on, ways, lambda: of_boxes, count=boxes)
    with serving(model, *path, "--workers", "2") as server:
        answered = kill_in_the_middle(server, uploads(), clients=max(CLIENTS))
    measured.add("one of two workers is killed" + on, n=len(found), answered=answered)
