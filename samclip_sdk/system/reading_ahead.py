"""Reads what comes next while its caller is busy with what came before."""

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
"""How many threads read by default: two keep a model busy that is as fast as reading is."""


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Content], *, readers: int = READERS
) -> Generator[Content, None, None]:
    """Reads items on threads, and hands out what was read in the order of the items.

    The items are taken in the caller's thread, `2 * readers` ahead of the one that is handed out at
    most, so that they may be without end and what is in memory is bounded. An item must stay as it
    is when the next one is taken.

    The threads end with the generator. If it is closed or dropped, or ends with an error, nobody
    waits for them: what is being read is read to its end, and forgotten. So an interrupt waits for
    no reader, and neither does the end of the process.

    Args:
        items: to be read.
        read: called on a thread, for several items at a time.
        readers: how many threads there are.

    Yields:
        What `read` returned for each item.

    Raises:
        Exception: what `read` raised for an item, or `items` itself, once all that came before was
            handed out.
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
        del job  # or it would hold what it read until the next one comes


def _fulfil(future: Future[Content], read: Callable[[Item], Content], item: Item) -> None:
    """Reads an item, unless nobody waits for it any more."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(read(item))
        except BaseException as error:
            future.set_exception(error)
