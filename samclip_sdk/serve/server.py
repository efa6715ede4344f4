"""Start and stop of a server, and its logs in JSON."""

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
from samclip_sdk.serve.hosts import check_origins
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
    origins: Sequence[str],
    workers: int,
    limits: Limits,
    log_level: str,
) -> None:
    """Opens a model in worker processes and answers HTTP, until SIGTERM or Ctrl-C.

    On a signal, requests in progress are answered, and the port takes no new ones. Logs go to
    standard error, with the server's address. API keys come from SAMCLIP_API_KEYS.

    Args:
        choice: the model.
        host: the address to listen at.
        port: the port; 0 stands for any free one.
        names: the host names of the server besides `host`, localhost and addresses; without API
            keys, requests by other names are refused.
        origins: of pages of other sites that may read the answers, such as https://my.site.
        workers: the number of processes, each with a model of its own.
        limits: the limits of requests.
        log_level: "debug", "info", "warning" or "error".

    Raises:
        RuntimeMissingError: the extra `serve` is not installed.
        OptionError: the port is taken, or a key, an origin or a number is not valid.
        SamClipError: the model cannot be opened.
    """
    check_installed()
    if workers < 1:
        raise OptionError(f"workers is {workers}; it must be 1 or more")
    allowed = check_origins(origins)
    log_as_json(log_level)
    with bound_socket(host, port) as taken:
        called = (host, *names)
        serving = _serve(
            choice, taken, names=called, origins=allowed, workers=workers, limits=limits
        )
        asyncio.run(serving)


def check_installed() -> None:
    """Checks that the packages of the server are installed.

    Raises:
        RuntimeMissingError: the extra `serve` is not installed.
    """
    try:
        import fastapi  # noqa: F401, only whether it is there
        import prometheus_client  # noqa: F401, only whether it is there
        import python_multipart  # noqa: F401, only whether it is there
        import uvicorn  # noqa: F401, only whether it is there
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            f"{error.name} is not installed: pip install 'samclip-sdk[serve]'"
        ) from error


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Binds a port before a model is opened, which may take minutes; nobody can connect yet.

    Raises:
        OptionError: the host and port are no address, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol's name, or asyncio does not send small answers at once (TCP_NODELAY).
        taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError) as error:
        raise OptionError(f"host {host!r}, port {port} is not an address: {error}") from error
    with taken:
        if os.name == "posix":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
        except OSError as error:
            raise OptionError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield taken


async def _serve(
    choice: ModelChoice,
    taken: socket.socket,
    *,
    names: Sequence[str],
    origins: Sequence[str],
    workers: int,
    limits: Limits,
) -> None:
    # Imported here, since they need the extra.
    from samclip_sdk.serve.app import create_app
    from samclip_sdk.serve.hosts import Hosts
    from samclip_sdk.serve.metrics import Metrics
    from samclip_sdk.serve.pool import Pool
    from samclip_sdk.serve.uvicorn_server import listen

    keys, metrics = Keys(os.environ.get(KEYS_VARIABLE)), Metrics()
    pool = Pool(choice, workers=workers, limits=limits, on_batch=metrics.note_batch)
    app = create_app(
        pool, limits=limits, keys=keys, hosts=Hosts(names), metrics=metrics, origins=origins
    )
    asked = "asked for" if keys.asked else "not asked for"
    log.info("opening", extra={"model": choice.model, "workers": workers, "api_keys": asked})
    await pool.start()
    try:
        await listen(app, taken, stop_s=limits.stop_s)
    finally:
        await pool.close()
        log.info("stopped")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON: time, level, event, and the fields of `extra`.

    No image, label or key is logged.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of JSON."""
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
    """Makes this process and its libraries log lines of JSON, from a level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
