"""The HTTP server, uvicorn: its connections, its configuration, its stop."""

from __future__ import annotations

import logging
import signal
import socket

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)


class Connection(H11Protocol):
    """A connection that is closed when its bytes are not HTTP."""

    def send_400_response(self, msg: str) -> None:
        """Answers 400, unless an answer has begun; a request in progress has lost its client."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()


class Server(uvicorn.Server):
    """A server that logs its address once it takes requests."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and logs the address."""
        await super().startup(sockets)
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("serving", extra={"address": f"http://{shown}:{port}"})


def configured(app: ASGIApp, *, stop_s: int) -> uvicorn.Config:
    """The configuration of the server.

    Args:
        app: the app that answers.
        stop_s: the seconds that requests in progress may take after a signal to stop.
    """
    return uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=stop_s,
    )


async def listen(app: ASGIApp, taken: socket.socket, *, stop_s: int) -> None:
    """Answers requests until SIGTERM or Ctrl-C, and finishes those in progress.

    Args:
        app: the app that answers.
        taken: the bound socket.
        stop_s: the seconds that requests in progress may take after the signal.
    """
    # uvicorn stops at these signals, and then raises them again for the handlers before its own.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    await Server(configured(app, stop_s=stop_s)).serve(sockets=[taken])
