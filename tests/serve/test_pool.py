"""Jobs and workers: what goes together, what waits, and what happens when a worker dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk.errors import SamClipError
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.settings import Limits, ModelChoice
from samclip_sdk.serve.worker_process import Answer
from tests.refusals import refused
from tests.serve.running_server import alive

ODD = str(Path(__file__).with_name("odd_worker.py"))


@pytest.fixture(autouse=True)
def odd_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samclip_sdk.serve.worker_process.WORKER", ("-S", ODD))


def with_pool(
    work: Callable[[Pool], Coroutine[Any, Any, None]],
    *,
    workers: int = 1,
    limits: Limits | None = None,
    model: str = "odd",
) -> list[tuple[int, float, bool]]:
    """Runs a test with a pool, and closes that; returns what batches there were."""
    batches: list[tuple[int, float, bool]] = []

    async def run() -> None:
        pool = Pool(
            ModelChoice(model=model),
            workers=workers,
            limits=limits or Limits(),
            on_batch=lambda *batch: batches.append(batch),
        )
        await pool.start()
        pids = [worker.pid for worker in pool.workers]
        try:
            await work(pool)
            while any(worker.batches for worker in pool.workers):  # that a batch is done comes last
                await asyncio.sleep(0.01)
        finally:
            pids += [worker.pid for worker in pool.workers]
            await pool.close()
        assert not [pid for pid in pids if pid and alive(pid)]

    asyncio.run(run())
    return batches


def put(pool: Pool, *contents: str) -> list[asyncio.Future[Answer]]:
    """Asks about each image in a request of its own; its content is its key."""
    return [
        future
        for index, content in enumerate(contents)
        for future in pool.put("text", [(content, content.encode())], {"index": index})
    ]


async def told(answers: Sequence[asyncio.Future[Answer]]) -> list[dict[str, Any]]:
    found = await asyncio.wait_for(asyncio.gather(*answers), 20)
    assert {each.status for each in found} == {200}
    return [json.loads(each.content) for each in found]


def test_what_waits_for_one_image_goes_together() -> None:
    async def work(pool: Pool) -> None:
        found = await told(put(pool, "slow", "other", *["same"] * 5))
        assert [each["together"] for each in found] == [1, 1, 5, 5, 5, 5, 5]

    batches = with_pool(work)
    assert sorted(jobs for jobs, _, _ in batches) == [1, 1, 5]


def test_an_image_is_asked_about_where_it_is_encoded() -> None:
    async def work(pool: Pool) -> None:
        homes = {}
        for turn in range(3):
            for each in await told(put(pool, *"abcdef")):
                key = "abcdef"[each["ask"]["index"]]
                assert homes.setdefault(key, each["pid"]) == each["pid"], turn
        assert len(set(homes.values())) == 2

    with_pool(work, workers=2)


def test_more_than_may_wait_is_refused_and_told_when() -> None:
    async def work(pool: Pool) -> None:
        answers = put(pool, "slow a", "slow b", "c", "d", "e", "f")  # two are with the worker
        error = refused(lambda: put(pool, "one too many"), RefusedError, 4)
        assert (error.status, error.retry_after_s) == (429, 1)
        await told(answers)
        await told(put(pool, "now there is room"))

    with_pool(work, limits=Limits(queue=4, images=4))


def test_what_a_killed_worker_had_is_answered_by_another() -> None:
    async def work(pool: Pool) -> None:
        answers = put(pool, "slow a", "slow b", "slow c", "slow d", "slow e", "f")
        victim = pool.workers[0].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        found = await told(answers)
        assert [each["ask"]["index"] for each in found] == [*range(6)]
        assert victim not in {each["pid"] for each in found}
        assert pool.restarts == 1
        for _ in range(100):
            await asyncio.sleep(0.02 * (pool.ready < 2))
        assert pool.ready == 2

    with_pool(work, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_kills_two_workers_is_given_to_no_third(workers: int) -> None:
    async def work(pool: Pool) -> None:
        bad, *good = put(pool, "poison", "a", "b", "poison's neighbour", "c")
        found = await asyncio.wait_for(bad, 20)
        assert (found.status, found.error) == (500, "WorkerDied")
        assert len(await told(good)) == 4
        assert pool.restarts == 2

    with_pool(work, workers=workers)


def test_a_worker_that_says_nothing_is_replaced() -> None:
    async def work(pool: Pool) -> None:
        (stuck,) = put(pool, "endless")
        started = time.monotonic()
        found = await asyncio.wait_for(stuck, 20)
        assert found.status == 500
        assert time.monotonic() - started < 10
        await told(put(pool, "a"))

    with_pool(work, limits=Limits(answer_s=1))


def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    async def work(pool: Pool) -> None:
        answers = put(pool, "slow a", "slow b", "c", "d")
        answers[2].cancel()
        await told([answers[0], answers[1], answers[3]])

    batches = with_pool(work)
    assert len(batches) == 3


def test_a_model_that_cannot_be_opened_is_told_and_leaves_no_process() -> None:
    async def work(pool: Pool) -> None:
        raise AssertionError("it has started")

    refused(lambda: with_pool(work, model="broken", workers=2), SamClipError, "no such model")


def test_keys_are_not_given_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMCLIP_API_KEYS", "0123456789abcdef")

    async def work(pool: Pool) -> None:
        environment = Path(f"/proc/{pool.workers[0].pid}/environ").read_bytes()
        assert b"PYTHONPATH=" in environment
        assert b"SAMCLIP_API_KEYS" not in environment

    with_pool(work)
