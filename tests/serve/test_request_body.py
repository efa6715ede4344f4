"""What a body may cost while it is read: memory, and the time of others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from samclip_sdk.serve import request_body
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.request_body import read_body
from samclip_sdk.serve.settings import Limits
from samclip_sdk.system.timing import peak_rss_bytes
from tests.refusals import refused
from tests.serve.test_process import Served, serving

JSON, FORM = "application/json", "multipart/form-data; boundary=b"
IMAGE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n%b\r\n--b--\r\n'
QUESTION = b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n%b\r\n--b--\r\n'
ONE_IMAGE = b'{"images":[{"base64":"%b"}]}'
SIZE = 16_000_000


def items(item: bytes, *, size: int = SIZE) -> bytes:
    return b",".join([item] * (size // (len(item) + 1)))


BODIES = {
    "zeros for images": (JSON, lambda: b'{"images":[%b]}' % items(b"0")),
    "zeros for labels": (JSON, lambda: b'{"labels":[%b]}' % items(b"0")),
    "lists for labels": (JSON, lambda: b'{"labels":[%b]}' % items(b"[]")),
    "points": (JSON, lambda: b'{"points":[%b]}' % items(b"[[1,2]]")),
    "unknown names": (JSON, lambda: b"{%b}" % items(b'"name":1')),
    "a long name": (JSON, lambda: b'{"%b\xf0\x9f\x98\x80":1}' % (b"A" * SIZE)),
    "a long id": (JSON, lambda: b'{"images":[{"id":"%b\xf0\x9f\x98\x80"}]}' % (b"A" * SIZE)),
    "many images": (JSON, lambda: b'{"images":[%b]}' % items(b'{"base64":"AA"}')),
    "an image": (JSON, lambda: ONE_IMAGE % (b"A" * SIZE)),
    "an image with slashes": (
        JSON,
        lambda: ONE_IMAGE % (b"\\/" * (SIZE // 2)),
    ),
    "no image": (JSON, lambda: b'{"images":[{"base64":"%b\xf0\x9f\x98\x80"}]}' % (b"A" * SIZE)),
    "zeros, few": (JSON, lambda: b'{"images":[%b]}' % items(b"0", size=255_000)),
    "points, few": (JSON, lambda: b'{"points":[%b]}' % items(b"[[1,2]]", size=255_000)),
    "unknown names, few": (JSON, lambda: b"{%b}" % items(b'"":1', size=255_000)),
    "a file": (FORM, lambda: IMAGE % (b"A" * SIZE)),
    "a file of boundaries, nearly": (FORM, lambda: IMAGE % (b"\r\n--" * (SIZE // 4))),
    "a long question": (FORM, lambda: QUESTION % items(b"0")),
}
"""Name -> kind and content, which is made when it is sent: it has megabytes."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Served, httpx.Client]]:
    # What is freed is given back at once, so that no body counts for the next one.
    with serving("--body-mb", "17", env={"MALLOC_MMAP_THRESHOLD_": "1000000"}) as found:
        url = found.wait_for("serving")["address"]
        threading.Thread(target=found.process.stderr.read, daemon=True).start()
        with httpx.Client(base_url=url, timeout=60) as client:
            yield found, client


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells of memory")
@pytest.mark.parametrize("name", BODIES)
def test_a_body_takes_three_times_its_size_at_most(
    served: tuple[Served, httpx.Client], name: str
) -> None:
    """Twice, as measured; with errors for all items, or parsed whole, it were up to 1,500 times."""
    server, client = served
    kind, make = BODIES[name]
    content = make()
    headers = {"Content-Type": kind}
    assert client.post("/v1/text", content=b"{}", headers={"Content-Type": JSON}).status_code == 422
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak is what it has now
    before = peak_rss_bytes(server.process.pid)
    response = client.post("/v1/text", content=content, headers=headers)
    assert response.status_code in (413, 422), response.text
    peak = peak_rss_bytes(server.process.pid)
    assert before is not None
    assert peak is not None
    assert peak - before < 3 * SIZE


def request_with(content: bytes | None, *, kind: str) -> Request:
    """A request with a body; with None, the body does not come."""

    async def receive() -> Message:
        if content is None:
            await asyncio.Future()
        return {"type": "http.request", "body": content, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def test_a_form_that_takes_long_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop goes on, and the client is told after the time that a body may take."""
    go_on = threading.Event()
    monkeypatch.setattr(request_body, "MultipartForm", lambda *given, **named: go_on.wait(30))

    async def read() -> tuple[int, float]:
        turns, started = 0, time.perf_counter()
        reading = asyncio.create_task(
            read_body(request_with(QUESTION % b"{}", kind=FORM), limits=Limits(body_s=1))
        )
        while not reading.done():
            await asyncio.sleep(0.01)
            turns += 1
        took_s = time.perf_counter() - started
        go_on.set()
        with pytest.raises(RefusedError, match="1 s") as caught:
            await reading
        assert caught.value.status == 408
        return turns, took_s

    turns, took_s = asyncio.run(read())
    assert turns > 10
    assert took_s < 20


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    read = read_body(request_with(None, kind=JSON), limits=Limits(body_s=1))
    error = refused(lambda: asyncio.run(read), RefusedError, "1 s")
    assert error.status == 408


@pytest.mark.parametrize("letter", [b'"', b"\\", b" ", b'"base64":', b'"base64":"A', b"\r\n--b"])
def test_taking_a_body_apart_takes_a_time_that_goes_with_its_size(letter: bytes) -> None:
    """Ten times as much may take thirty times as long, which the square would pass by far."""
    took_s = []
    for count in (20_000, 200_000):
        text = b'{"base64" : "' + letter * count + b'"}'
        for kind, content in ((JSON, text), (FORM, IMAGE % text)):
            started = time.perf_counter()
            read = partial(read_body, request_with(content, kind=kind), limits=Limits())
            with contextlib.suppress(RefusedError):
                asyncio.run(read())
            took_s.append(time.perf_counter() - started)
    assert max(took_s[2:]) < 30 * max(*took_s[:2], 0.05)
