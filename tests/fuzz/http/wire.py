"""A client that sends bytes as they are, and reads whatever comes back."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Then: TypeAlias = Literal["wait", "end if silent", "leave"]

LIMIT_S = 20.0
"""Of silence while an answer is due."""

SILENCE_S = 0.05
"""After which a client says that it has nothing more to send."""

NO_HTTP = b"Invalid HTTP request received."
"""What uvicorn itself answers to what is no request, in plain text."""

_ABORT = struct.pack("ii", 1, 0)  # closing resets the connection


@dataclass(frozen=True)
class Reply:
    """An answer of HTTP; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(address: tuple[str, int], pieces: Sequence[bytes], *, then: Then) -> list[Reply]:
    """Sends bytes over a connection of their own, and returns the answers.

    Args:
        address: of the server.
        pieces: to send, one after the other.
        then: wait until the server closes the connection; or say that nothing more comes as soon
            as it is silent, after which it may close without an answer; or leave at once.

    Raises:
        AssertionError: it is silent for too long, or what it says is no HTTP.
    """
    with socket.create_connection(address, timeout=LIMIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may answer before it has read all
            for piece in pieces:
                connection.sendall(piece)
        if then == "leave":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            return []
        received, ended = _receive(connection, end_if_silent=then == "end if silent")
    return _parse(received, method=pieces[0].split(b" ", 1)[0], cut=ended)


def _receive(connection: socket.socket, *, end_if_silent: bool) -> tuple[bytes, bool]:
    """All that comes until the server closes, and whether this side has ended first."""
    received, ended = bytearray(), False
    connection.settimeout(SILENCE_S if end_if_silent else LIMIT_S)
    while True:
        try:
            piece = connection.recv(1 << 16)
        except TimeoutError:
            if ended or not end_if_silent:
                raise AssertionError(f"hangs: silent for {LIMIT_S:g} s") from None
            ended = True
            connection.settimeout(LIMIT_S)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            continue
        except ConnectionError:
            return bytes(received), ended
        if not piece:
            return bytes(received), ended
        received += piece


def _parse(received: bytes, *, method: bytes, cut: bool) -> list[Reply]:
    """The answers; the last may be cut off if this side has ended first."""
    if received.endswith(NO_HTTP):
        method = b""  # for it there was none, not even HEAD
    stream, found = _Played(received), []
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream, method=method.decode("latin-1"))  # type: ignore[arg-type]
        try:
            response.begin()
            body = response.read()
        except http.client.HTTPException as error:
            if cut:
                return found
            raise AssertionError(f"its answer is no HTTP: {error!r}") from error
        headers = {name.lower(): value for name, value in response.getheaders()}
        found.append(Reply(response.status, headers, body))
    return found


class _Played(io.BytesIO):
    """What was received, as a socket from which each response goes on where the last one ended."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        """The response closes it after each answer."""
