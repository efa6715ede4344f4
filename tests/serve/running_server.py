"""A server in a thread of the tests' own process; its workers are processes of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from samclip_sdk.serve.app import create_app
from samclip_sdk.serve.hosts import Hosts
from samclip_sdk.serve.keys import Keys
from samclip_sdk.serve.metrics import Metrics
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.server import bound_socket
from samclip_sdk.serve.settings import Limits, ModelChoice
from samclip_sdk.serve.uvicorn_server import configured
from tests.drawings import TINY_BUNDLE

Value = TypeVar("Value")

TINY = ModelChoice(model=str(TINY_BUNDLE), runtime="onnx", threads=1)


@dataclass
class Running:
    """A server that answers.

    Attributes:
        url: of its root.
        pool: its workers; other threads may look, and `call` into it.
        loop: which it runs in.
    """

    url: str
    pool: Pool
    loop: asyncio.AbstractEventLoop

    def call(self, work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(60)


@contextmanager
def running(
    *,
    workers: int = 1,
    limits: Limits | None = None,
    keys: str | None = None,
    choice: ModelChoice = TINY,
) -> Iterator[Running]:
    limits = limits or Limits()
    metrics, ready, stop = Metrics(), threading.Event(), threading.Event()
    found: list[Running] = []

    async def serve(port: Any) -> None:
        pool = Pool(choice, workers=workers, limits=limits, on_batch=metrics.note_batch)
        app = create_app(pool, limits=limits, keys=Keys(keys), hosts=Hosts(()), metrics=metrics)
        server = uvicorn.Server(configured(app, stop_s=limits.stop_s))
        await pool.start()
        task = asyncio.create_task(server.serve(sockets=[port]))
        while not server.started:
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{port.getsockname()[1]}"
        found.append(Running(address, pool, asyncio.get_running_loop()))
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.should_exit = True
        await task
        await pool.close()

    def run() -> None:
        try:
            with bound_socket("127.0.0.1", 0) as port:
                asyncio.run(serve(port))
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(60)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join(60)


def alive(pid: int) -> bool:
    """Whether a process is there; one that has ended and was not asked about is not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
