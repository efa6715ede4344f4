"""What looks at the answers of HTTP would find each kind of fault; `test_fuzz` sends requests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fuzz.http import wire
from tests.fuzz.http.answers import check_reply
from tests.fuzz.http.site import SECRET, SECRET_SIZE, Site
from tests.fuzz.http.wire import Reply, exchange

PROBLEM = {"error": "Refused", "message": "it is too large", "request_id": "7"}
MASK = {
    "score": 0.5,
    "bbox": [0, 0, 2, 2],
    "area": 4,
    "segmentation": {"size": [2, 2], "counts": "04"},
    "prompt_index": 0,
}
MASKS = {"size": [2, 2], "annotations": [MASK], "speed": {}}
LINES = b'{"image_index":0,"found":0,"size":[2,2]}\n'


def replied(content: Any, *, status: int = 200, kind: str = "application/json") -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply(status, {"content-type": kind, "x-request-id": "7"}, body)


def masks(**changed: Any) -> Reply:
    return replied({"answers": [{**MASKS, "annotations": [{**MASK, **changed}]}]})


def test_what_keeps_the_promises_passes() -> None:
    assert check_reply(masks(), verb="segment", sizes=[(2, 2)]) == ""
    refused = check_reply(replied(PROBLEM, status=413), verb="segment")
    assert refused == "413: Refused: it is too large"
    lines = replied(LINES, kind="application/x-ndjson")
    assert check_reply(lines, verb="text", sizes=[(2, 2)]) == ""


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (replied(PROBLEM, status=500), "status 500"),
        (replied(PROBLEM, status=307), "status 307"),
        (replied({**PROBLEM, "request_id": "8"}, status=422), "another id"),
        (replied(PROBLEM, status=429), "retry after 0"),
        (replied(b"no", status=422, kind="text/html"), "text/html"),
        (replied(SECRET), "its answer holds"),
        (replied(b"Traceback (most recent call last)", status=422), "its answer holds"),
        (replied({"answers": []}), "0 answers"),
        (masks(score=float("nan")), "NaN in the JSON"),
        (masks(area=3), "area 3 of 4 pixels"),
        (masks(bbox=[1, 0, 2, 2]), "1, 0, 2, 2"),
        (masks(segmentation={"size": [2, 3], "counts": "06"}), "a mask"),
        (masks(segmentation=[[0, 0, 3, 0, 0, 3]]), "beyond the picture"),
        (replied({"answers": [{**MASKS, "size": [2, 3]}]}), "of a picture"),
        (replied({"answers": [{**MASKS, "more": 1}]}), "more"),
        (replied(LINES * 2, kind="application/x-ndjson"), "is of 0"),
        (replied(b"", kind="application/x-ndjson"), "0 pictures of 1"),
    ],
)
def test_what_breaks_one_is_found(reply: Reply, why: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=why):
        check_reply(reply, verb="segment", sizes=[(2, 2)])


def test_a_picture_of_the_servers_disk_is_found() -> None:
    answer = {"id": "x", "height": SECRET_SIZE[0], "width": SECRET_SIZE[1]}
    with pytest.raises(AssertionError, match="the server's own disk"):
        check_reply(replied({"answers": [answer]}), verb="images")


@pytest.mark.parametrize(
    ("errors", "deaths", "again", "why"),
    [
        ([], 0, b"200 as ever", ""),
        (["unforeseen error"], 0, b"200 as ever", "it logs 'unforeseen error'"),
        ([], 1, b"200 as ever", "a worker has died"),
        ([], 0, b"200 another", "the known question is answered b'200 another'"),
    ],
)
def test_a_server_that_is_no_longer_well_is_found(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], deaths: int, again: bytes, why: str
) -> None:
    server: Any = SimpleNamespace(pool=SimpleNamespace(restarts=deaths))
    site = Site(server, errors, pictures=[], known=b"200 as ever")
    monkeypatch.setattr(site, "ask_known", lambda: again)
    with pytest.raises(AssertionError, match=why) if why else nullcontext():
        site.check_health()


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(100)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        thread.join()


def test_a_server_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LIMIT_S", 0.2)
    for then in ("wait", "end if silent"):
        done = threading.Event()
        with listening(lambda connection, done=done: done.wait(20)) as address:  # type: ignore[misc]
            try:
                with pytest.raises(AssertionError, match="hangs"):
                    exchange(address, [b"GET / HTTP/1.1\r\n\r\n"], then=then)
            finally:
                done.set()


def test_what_is_no_answer_is_found_and_several_are_read() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"
    with listening(lambda connection: connection.sendall(whole * 2)) as address:
        replies = exchange(address, [b"GET / HTTP/1.1\r\n\r\n"], then="wait")
    assert replies == [Reply(200, {"content-length": "2", "x-a": "b"}, b"ok")] * 2
    with (
        listening(lambda connection: connection.sendall(whole[:-1])) as address,
        pytest.raises(AssertionError, match="no HTTP"),
    ):
        exchange(address, [b"GET / HTTP/1.1\r\n\r\n"], then="wait")
