"""Reads what comes next while its caller is busy with what came before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
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
    most, so that they may be without end and what is in memory is bounded. The threads end with the
    generator: when it is exhausted, closed, or dropped.

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
    pool = ThreadPoolExecutor(readers, thread_name_prefix="samclip-reader")
    try:
        while more or ahead:
            while more and len(ahead) <= 2 * readers:
                try:
                    ahead.append(pool.submit(read, next(source)))
                except StopIteration:
                    more = False
                except Exception as error:
                    ahead.append(Future())
                    ahead[-1].set_exception(error)
                    more = False
            if ahead:
                yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
