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

SILENCE_S = 0.3
"""After which a client says that it has nothing more to send."""

NO_HTTP = b"Invalid HTTP request received."
"""What uvicorn itself answers to what is no request, in plain text."""


@dataclass(frozen=True)
class Reply:
    """An answer of HTTP; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(
    address: tuple[str, int], pieces: Sequence[bytes], *, then: Then, limit_s: float = LIMIT_S
) -> list[Reply]:
    """Sends bytes over a connection of their own, and returns the answers.

    Args:
        address: of the server.
        pieces: to send, one after the other.
        then: wait until the server closes the connection; or say that nothing more comes as soon
            as it is silent, after which it may close without an answer; or leave at once.
        limit_s: of silence while an answer is due.

    Raises:
        AssertionError: it is silent for too long, or what it says is no HTTP.
    """
    received, ended = bytearray(), then == "wait"
    with socket.create_connection(address, timeout=limit_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may answer before it has read all
            for piece in pieces:
                connection.sendall(piece)
        if then == "leave":  # closing resets the connection
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return []
        connection.settimeout(limit_s if ended else SILENCE_S)
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    piece = connection.recv(1 << 16)
                except TimeoutError:
                    assert not ended, f"hangs: silent for {limit_s:g} s"
                    ended = True
                    connection.settimeout(limit_s)
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if not piece:
                    break
                received += piece
    method = b"" if received.endswith(NO_HTTP) else pieces[0].split(b" ", 1)[0]
    return _parse(bytes(received), method=method.decode("latin-1"), cut=then != "wait" and ended)


def _parse(received: bytes, *, method: str, cut: bool) -> list[Reply]:
    """The answers; the last may be cut off if this side has ended first."""
    stream, found = _Played(received), list[Reply]()
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
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
