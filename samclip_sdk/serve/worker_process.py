"""One worker process: it is started, sent jobs, and replaced by a new process when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from samclip_sdk.errors import SamClipError
from samclip_sdk.serve.keys import KEYS_VARIABLE
from samclip_sdk.serve.settings import Limits, ModelChoice
from samclip_sdk.serve.wire import pack_message, receive_message

log = logging.getLogger(__name__)

WORKER = ("-m", "samclip_sdk.serve.worker")
"""The arguments of Python in a worker process."""

DEPTH = 2
"""The batches that a worker has at a time: it computes one and decodes the image of the next."""

_LONGEST_PAUSE_S = 10.0
_END_S = 5.0


@dataclass(frozen=True)
class Answer:
    """The answer of a worker.

    Attributes:
        status: the HTTP status.
        error: the class of the error; empty if the status is 200, or the error was unforeseen.
        content: JSON, or the error's message.
    """

    status: int
    error: str
    content: bytes


@dataclass(eq=False)
class Job:
    """A question about an image.

    Attributes:
        key: the sha256 of the image file's content.
        content: the content of the image file.
        ask: the question, as `batching` takes it.
        answer: the future answer.
        deaths: the number of workers that have died with this job.
    """

    key: str
    content: bytes
    ask: dict[str, Any]
    answer: asyncio.Future[Answer]
    deaths: int = 0


@dataclass(eq=False)
class WorkerProcess:
    """A worker process; between a process that died and the next, it has none.

    Args:
        choice: the model that it opens.
        limits: the limits of images, of memory and of time.
        on_free: called when the worker can take more jobs.
        on_lost: called with the jobs of a worker that died, the oldest first.
        on_batch: called after a batch with the number of its jobs, its seconds, and whether its
            image was encoded already.

    Attributes:
        model_info: the fields of `schema.Model`, once the model is open; else None.
        batches: the batches that it works on, the oldest first.
        restarts: the number of processes that have died.
    """

    choice: ModelChoice
    limits: Limits
    on_free: Callable[[], None]
    on_lost: Callable[[Sequence[Job]], None]
    on_batch: Callable[[int, float, bool], None]
    model_info: dict[str, Any] | None = None
    batches: list[dict[int, Job]] = field(default_factory=list)
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _number: int = 0
    _watch: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, once its model is open."""
        return self._process.pid if self._process and self.model_info else None

    @property
    def free(self) -> bool:
        """Whether it can take a batch now."""
        return self.model_info is not None and len(self.batches) < DEPTH

    async def start(self) -> None:
        """Starts the process, and waits until its model is open.

        Raises:
            SamClipError: the model cannot be opened, or the process has ended before.
        """
        environment = {name: value for name, value in os.environ.items() if name != KEYS_VARIABLE}
        environment["PYTHONPATH"] = os.pathsep.join(each for each in sys.path if each)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=1 << 20,
            start_new_session=True,  # a terminal signals the front process alone
        )
        self._send(
            {
                "model": asdict(self.choice),
                "megapixels": self.limits.megapixels,
                "embeddings_mb": self.limits.embeddings_mb,
            }
        )
        assert self._process.stdout is not None
        message = await receive_message(self._process.stdout)
        if message is None or "ready" not in message[0]:
            await self._end()
            said = "it ended before its model was open" if message is None else message[0]["failed"]
            raise SamClipError(str(said))
        self.model_info = message[0]["ready"]
        log.info("worker ready", extra={"worker": self._process.pid})
        self.on_free()

    async def run(self) -> None:
        """Passes answers on for ever, and replaces dead processes; call `start` before."""
        while True:
            await self._listen()
            await self._end()
            lost = [job for batch in self.batches for job in batch.values()]
            self.batches, self.restarts = [], self.restarts + 1
            log.error("worker died", extra={"jobs": len(lost), "restarts": self.restarts})
            self.on_lost(lost)
            pause_s = 0.1
            while self.model_info is None:
                try:
                    await self.start()
                except (SamClipError, OSError) as error:
                    log.error("worker not started", extra={"reason": str(error)})
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def take(self, jobs: Sequence[Job]) -> None:
        """Sends questions about one image; `free` must be true."""
        batch = {self._number + index: job for index, job in enumerate(jobs)}
        self._number += len(jobs)
        self.batches.append(batch)
        header = {"image": jobs[0].key, "jobs": [*batch], "asks": [job.ask for job in jobs]}
        self._send(header, jobs[0].content)
        self._look_after()

    async def close(self) -> None:
        """Ends the process; its jobs get no answer."""
        await self._end()

    async def _listen(self) -> None:
        """Passes the messages of the process on until it has ended."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while (message := await receive_message(process.stdout)) is not None:
            header, content = message
            if "done" in header:
                self.batches.pop(0)
                self.on_batch(len(header["done"]), header["seconds"], header["cached"])
                self.on_free()
            else:
                if "trace" in header:
                    log.error("unforeseen error", extra={"trace": header["trace"]})
                job = self.batches[0].pop(header["job"])
                if not job.answer.done():
                    answer = Answer(header["status"], header.get("error", ""), content)
                    job.answer.set_result(answer)
            self._look_after()

    def _look_after(self) -> None:
        """Restarts the timer of a silent worker, if the worker has a batch."""
        if self._watch:
            self._watch.cancel()
        self._watch = None
        if self.batches:
            loop = asyncio.get_running_loop()
            self._watch = loop.call_later(self.limits.answer_s, self._give_up)

    def _give_up(self) -> None:
        log.error("worker silent", extra={"seconds": self.limits.answer_s})
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _send(self, header: dict[str, Any], content: bytes = b"") -> None:
        """Writes without waiting: the pipe holds two batches at most; `_listen` sees a death."""
        assert self._process is not None
        assert self._process.stdin is not None
        for piece in pack_message(header, content):  # writelines would copy the image to join it
            self._process.stdin.write(piece)

    async def _end(self) -> None:
        """Ends the process: closes its input, and kills it if it stays."""
        process, self.model_info = self._process, None
        if self._watch:
            self._watch.cancel()
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
