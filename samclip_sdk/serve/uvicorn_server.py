"""The HTTP server itself: uvicorn, and how it stops."""

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
    """A connection, which ends when what comes over it is no HTTP any more."""

    def send_400_response(self, msg: str) -> None:
        """Says so, unless an answer has begun; the request, if there is one, has no client left."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()


class Server(uvicorn.Server):
    """Logs its address once it takes requests there."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("serving", extra={"address": f"http://{shown}:{port}"})


def configured(app: ASGIApp, *, stop_s: int) -> uvicorn.Config:
    """How requests are taken.

    Args:
        app: which answers.
        stop_s: how long those that are there may still take after it was told to stop.
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
    """Answers requests until SIGTERM or Ctrl-C, and then those that are there.

    Args:
        app: which answers.
        taken: the bound socket.
        stop_s: how long those may take then.
    """
    # uvicorn stops at these, and then sends them again to whoever was there before.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    await Server(configured(app, stop_s=stop_s)).serve(sockets=[taken])
