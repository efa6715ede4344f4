"""The pool of workers, and the jobs that wait: questions about one image go together."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.settings import Limits, ModelChoice
from samclip_sdk.serve.worker_process import Answer, Job, WorkerProcess

MAX_TOGETHER = 32
"""The number of questions about one image in a batch, at most."""

_REMEMBERED = 4096


class Pool:
    """Worker processes, and the jobs that wait for them, first come, first served.

    A question goes to the worker that has encoded its image, together with all questions about
    that image that wait. When a worker dies, its jobs go to other workers, one by one: so a job
    that kills a second worker is found out, and is answered 500.

    Args:
        choice: the model that the workers open.
        workers: the number of workers.
        limits: the limits of the server.
        on_batch: called after each batch with the number of its jobs, its seconds, and whether its
            image was encoded already.

    Attributes:
        workers: the worker processes.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        workers: int,
        limits: Limits,
        on_batch: Callable[[int, float, bool], None],
    ) -> None:
        self._limits, self._on_batch = limits, on_batch
        self.workers = [
            WorkerProcess(choice, limits, self._dispatch, self._give_again, self._note)
            for _ in range(workers)
        ]
        self._waiting: list[Job] = []
        self._last_worker: OrderedDict[str, WorkerProcess] = OrderedDict()
        self._job_s = 0.1
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """The number of jobs that no worker has taken yet."""
        return len(self._waiting)

    @property
    def ready(self) -> int:
        """The number of workers whose model is open."""
        return sum(worker.model_info is not None for worker in self.workers)

    @property
    def restarts(self) -> int:
        """The number of workers that have died."""
        return sum(worker.restarts for worker in self.workers)

    async def start(self) -> None:
        """Opens the model in all workers; in the first one alone, which fills caches for the rest.

        Raises:
            SamClipError: the model cannot be opened.
        """
        try:
            await self.workers[0].start()
            await asyncio.gather(*(worker.start() for worker in self.workers[1:]))
        except BaseException:
            await self.close()
            raise
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]

    def put(
        self, verb: str, images: Sequence[tuple[str, bytes]], ask: dict[str, Any]
    ) -> list[asyncio.Future[Answer]]:
        """Puts a question about images into the queue.

        Args:
            verb: "images", "classify", "segment", "text" or "everything".
            images: the sha256 of each image file's content, and the content.
            ask: the question, as `batching` takes it.

        Returns:
            The future answers, one for each image.

        Raises:
            RefusedError: too many images wait already.
        """
        if self.waiting + len(images) > self._limits.queue:
            raise RefusedError(
                f"{self.waiting} images wait already; try again later",
                status=429,
                retry_after_s=self.retry_after_s(),
            )
        loop = asyncio.get_running_loop()
        jobs = [
            Job(key, content, {"verb": verb, "index": index, **ask}, loop.create_future())
            for index, (key, content) in enumerate(images)
        ]
        self._waiting += jobs
        self._dispatch()
        return [job.answer for job in jobs]

    def retry_after_s(self) -> int:
        """The estimated seconds until all jobs that wait now are answered."""
        return max(1, math.ceil(self.waiting * self._job_s / len(self.workers)))

    async def close(self) -> None:
        """Ends all workers; jobs that still wait get no answer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self.workers))

    def _dispatch(self) -> None:
        """Gives jobs to the workers that are free."""
        for worker in sorted(self.workers, key=lambda worker: len(worker.batches)):
            while worker.free and (jobs := self._next_for(worker)):
                self._last_worker[jobs[0].key] = worker
                self._last_worker.move_to_end(jobs[0].key)
                if len(self._last_worker) > _REMEMBERED:
                    self._last_worker.popitem(last=False)
                worker.take(jobs)

    def _next_for(self, worker: WorkerProcess) -> list[Job]:
        """Takes the oldest job that a worker may have, with those about the same image."""
        if any(job.deaths for batch in worker.batches for job in batch.values()):
            return []  # A job that killed a worker runs alone.
        self._waiting = [job for job in self._waiting if not job.answer.done()]
        for job in self._waiting:
            if job.deaths:
                if worker.batches:
                    return []  # It comes first, once this worker is idle.
                self._waiting.remove(job)
                return [job]
            last = self._last_worker.get(job.key, worker)
            if last is not worker and last.model_info is not None:
                continue
            same = [each for each in self._waiting if each.key == job.key and not each.deaths]
            taken = same[:MAX_TOGETHER]
            self._waiting = [each for each in self._waiting if each not in taken]
            return taken
        return []

    def _give_again(self, lost: Sequence[Job]) -> None:
        """Puts the jobs of a dead worker first in the queue, but not a job that has killed two."""
        alone = len(lost) == 1
        again = []
        for job in (each for each in lost if not each.answer.done()):
            if alone and job.deaths:
                message = b"the worker process has died twice while it answered this"
                job.answer.set_result(Answer(500, "WorkerDied", message))
            else:
                job.deaths = 1
                again.append(job)
        self._waiting = again + self._waiting
        self._dispatch()

    def _note(self, jobs: int, seconds: float, cached: bool) -> None:
        self._job_s += 0.1 * (seconds / jobs - self._job_s)
        self._on_batch(jobs, seconds, cached)
