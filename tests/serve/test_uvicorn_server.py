"""Connections: what is no HTTP ends one, and is no error of the server's."""

from __future__ import annotations

import logging
import socket
from urllib.parse import urlsplit

import pytest

from tests.serve.conftest import KEY
from tests.serve.running_server import Running

HEAD = b"POST /v1/text HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
KEY_LINE = b"X-API-Key: " + KEY.encode() + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_HTTP = b"Invalid HTTP request received."


def sent(server: Running, *pieces: bytes) -> bytes:
    """All that comes back until the server closes; a piece is sent once the last is answered."""
    parts = urlsplit(server.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 30) as connection:
        received = b""
        for piece in pieces:
            connection.sendall(piece)
            received += connection.recv(1 << 16)
        while piece := connection.recv(1 << 16):
            received += piece
        return received


@pytest.mark.parametrize("key", [b"", KEY_LINE])
@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}X\r\n", b"-1\r\n"]
)
def test_a_chunk_that_is_none_is_no_error_of_the_server(
    server: Running, caplog: pytest.LogCaptureFixture, key: bytes, chunk: bytes
) -> None:
    received = sent(server, HEAD + key + CHUNKED + b"\r\n" + chunk)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert NO_HTTP in received
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_one_that_comes_after_the_answer_closes_the_connection(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    received = sent(server, HEAD + CHUNKED + b"\r\n2\r\n{}\r\n", b"zz\r\n")
    assert received.startswith(b"HTTP/1.1 401 ")
    assert received.count(b"HTTP/1.1") == 1
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_nothing_follows_a_request_that_tells_two_lengths(server: Running) -> None:
    """A proxy that takes the other one would have sent what follows as a part of the body."""
    both = b"Content-Length: 4\r\n" + CHUNKED + b"\r\n5\r\n[1,2]\r\n0\r\n\r\n"
    after = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = sent(server, HEAD + KEY_LINE + both + after)
    assert received.startswith(b"HTTP/1.1 422 ")
    assert received.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in received
