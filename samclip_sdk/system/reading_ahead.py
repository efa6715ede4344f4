"""Reads the next items on threads while the caller is busy with an earlier one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")

READERS = 2
"""The default number of threads: two keep a model busy that is as fast as reading."""


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Content], *, readers: int = READERS
) -> Generator[Content, None, None]:
    """Reads items on threads, and yields the results in the order of the items.

    The items are taken in the caller's thread, at most `2 * readers` ahead of the yielded one. So
    there may be endless items, and memory is bounded. An item must not change when the next one is
    taken.

    The threads end with the generator. If it is closed or dropped, or ends with an error, nobody
    waits for them: they finish the items that they are reading, and the results are dropped. So
    neither an interrupt nor the end of the process waits for a reader.

    Args:
        items: the items to read.
        read: called on a thread, on several threads at a time.
        readers: the number of threads.

    Yields:
        The result of `read` for each item.

    Raises:
        Exception: the error of `read` for an item, or of `items` itself, after all earlier results.
    """
    ahead: deque[Future[Content]] = deque()
    source, more = iter(items), True
    jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    threads = [
        Thread(target=_work, args=(jobs,), name=f"samclip-reader-{index}", daemon=True)
        for index in range(readers)
    ]
    try:
        for thread in threads:
            thread.start()
        while more or ahead:
            while more and len(ahead) <= 2 * readers:
                ahead.append(Future())
                try:
                    jobs.put(partial(_fulfil, ahead[-1], read, next(source)))
                except StopIteration:
                    ahead.pop()
                    more = False
                except Exception as error:
                    ahead[-1].set_exception(error)
                    more = False
            if ahead:
                yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()
        for _ in threads:
            jobs.put(None)
    for thread in threads:
        thread.join()


def _work(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    for job in iter(jobs.get, None):
        job()
        del job  # or it would hold its result until the next job comes


def _fulfil(future: Future[Content], read: Callable[[Item], Content], item: Item) -> None:
    """Reads an item, unless its result is no longer wanted."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(read(item))
        except BaseException as error:
            future.set_exception(error)
