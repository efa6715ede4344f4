"""The load test: its clients, what it counts, and its table."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import serve
from benchmarks.serve import LONG_SIDE_PX, as_new, compare, distinct_images, send_all, upload
from samclip_sdk.image.loading import load_image
from tests.benchmarks.measured import found_by, measure
from tests.drawings import TINY_BUNDLE


class Busy(http.server.BaseHTTPRequestHandler):
    """Takes 20 ms for an answer, has none for /refused, and of /together answers four at once."""

    protocol_version = "HTTP/1.1"
    four = threading.Barrier(4, timeout=60)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.02)
        if self.path == "/together":
            self.four.wait()
        self.send_response(429 if self.path == "/refused" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield SimpleNamespace(address=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_all_requests_are_sent_and_counted(busy: Any) -> None:
    requests = [("/together", "text/plain", b"x")] * 12 + [("/refused", "text/plain", b"x")]
    took_ms, statuses = zip(*send_all(busy, requests, clients=4), strict=True)
    assert statuses == (*[200] * 12, 429)
    assert min(took_ms) >= 20


def test_the_sdk_and_the_clients_are_compared_round_by_round(
    busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        time.sleep(0.05)

    monkeypatch.setattr(serve, "CLIENTS", (4,))
    how = {"server": busy, "count": 4, "rounds": 1}
    ways = {"one by one": work, "side by side": work}
    requests = [("/together", "text/plain", b"x")] * 4
    found = measure(compare, "sleep", ways, lambda: requests, **how)
    sdk = found.value("sleep", "a_second", "one by one")
    beside = found.metrics("sleep", "side by side")
    assert beside["ratio"].value == pytest.approx(beside["a_second"].value / sdk)
    four = found.metrics("sleep", "4")
    assert (four["failed"].value, four["failed"].n) == (0, 4)
    assert four["ratio"].value == four["ratio"].low == pytest.approx(four["a_second"].value / sdk)


def test_images_are_new_to_a_server_each_time() -> None:
    first, second = distinct_images(2)
    pixels = load_image(first)
    assert max(pixels.shape) == LONG_SIDE_PX
    assert pixels.shape != load_image(second).shape or (pixels != load_image(second)).any()
    sent = {hashlib.sha256(as_new(first)).digest() for _ in range(3)}
    assert len(sent) == 3
    np.testing.assert_array_equal(load_image(as_new(first)), pixels)
    assert first in upload("/", first, {})[2]


@pytest.mark.slow
def test_the_command_measures_and_loses_nothing(tmp_path: Path) -> None:
    few = ["--images", 12, "--boxes", 6, "--rounds", 1]
    part = found_by(tmp_path / "serve.jsonl", "serve", "--model", TINY_BUNDLE, *few)
    answered = part.get("one of two workers is killed, onnx fp32", "answered")
    assert (answered.value, answered.n) == (12, 12)
    failed = [row for row in part.rows.values() if row.metric == "failed"]
    assert [row.split for row in failed] == ["1", "4", "16"] * 2
    assert not any(row.value for row in failed)
