"""Runs a server until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from samclip_sdk.errors import OptionError, RuntimeMissingError
from samclip_sdk.serve.keys import KEYS_VARIABLE, Keys
from samclip_sdk.serve.settings import Limits, ModelChoice

log = logging.getLogger(__name__)

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message", "taskName"}


def run_server(
    choice: ModelChoice,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    workers: int,
    limits: Limits,
    log_level: str,
) -> None:
    """Opens a model in worker processes and answers HTTP, until SIGTERM or Ctrl-C.

    Requests that are in progress are answered then; the port takes no new ones. Logs go to
    standard error, the address that it serves too. API keys are the environment's SAMCLIP_API_KEYS.

    Args:
        choice: which model.
        host: the address to listen at.
        port: any free one if 0.
        names: by which a server without API keys may be called, besides `host`, localhost and
            addresses.
        workers: processes with a model each.
        limits: of requests.
        log_level: "debug", "info", "warning" or "error".

    Raises:
        RuntimeMissingError: the extra is not installed.
        OptionError: the port cannot be had, or a key or number that cannot be.
        SamClipError: the model cannot be opened.
    """
    check_installed()
    if workers < 1:
        raise OptionError(f"workers is {workers}; it must be 1 or more")
    log_as_json(log_level)
    with bound_socket(host, port) as taken:
        called = (host, *names)
        asyncio.run(_serve(choice, taken, names=called, workers=workers, limits=limits))


def check_installed() -> None:
    """Tells what to install, if it is not.

    Raises:
        RuntimeMissingError: the extra `serve` is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            f"{error.name} is not installed: pip install 'samclip-sdk[serve]'"
        ) from error


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Takes a port before minutes are spent on opening a model; nobody can connect yet.

    Raises:
        OptionError: it cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # By name: asyncio sends small answers at once (TCP_NODELAY) only where it reads this.
        taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError) as error:
        raise OptionError(f"host {host!r}, port {port} is no address: {error}") from error
    with taken:
        if os.name == "posix":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
        except OSError as error:
            raise OptionError(f"port {port} of {host} cannot be had: {error.strerror}") from error
        yield taken


async def _serve(
    choice: ModelChoice,
    taken: socket.socket,
    *,
    names: Sequence[str],
    workers: int,
    limits: Limits,
) -> None:
    # Only here: they are of the extra.
    from samclip_sdk.serve.app import create_app
    from samclip_sdk.serve.hosts import Hosts
    from samclip_sdk.serve.metrics import Metrics
    from samclip_sdk.serve.pool import Pool
    from samclip_sdk.serve.uvicorn_server import listen

    keys, metrics = Keys(os.environ.get(KEYS_VARIABLE)), Metrics()
    pool = Pool(choice, workers=workers, limits=limits, on_batch=metrics.note_batch)
    app = create_app(pool, limits=limits, keys=keys, hosts=Hosts(names), metrics=metrics)
    asked = "asked for" if keys.asked else "not asked for"
    log.info("opening", extra={"model": choice.model, "workers": workers, "api_keys": asked})
    await pool.start()
    try:
        await listen(app, taken, stop_s=limits.stop_s)
    finally:
        await pool.close()
        log.info("stopped")


class JsonLines(logging.Formatter):
    """A record as one line of JSON: when, how grave, what, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _OWN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json(level: str) -> None:
    """Has this process log that way, all libraries too, from a level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
