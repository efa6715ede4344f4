from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from samclip_sdk.system.reading_ahead import read_ahead
from tests.own_process import run_program
from tests.reader_threads import readers, readers_end


def test_hands_out_in_the_order_of_the_items() -> None:
    def read(item: int) -> int:
        time.sleep(0.002 * (item % 3))  # later ones are often done earlier
        return 10 * item

    assert list(read_ahead(range(20), read)) == [10 * item for item in range(20)]
    assert not readers()


def test_reads_while_the_caller_works() -> None:
    """The second item is read before the caller is through with the first."""
    second = threading.Event()
    contents = read_ahead([1, 2], lambda item: item == 2 and second.set())
    next(contents)
    assert second.wait(timeout=10)
    contents.close()


def test_items_may_be_without_end_and_few_are_taken_ahead() -> None:
    taken = 0

    def count() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    contents = read_ahead(count(), lambda item: item, readers=2)
    for expected in range(1, 8):
        assert next(contents) == expected
        assert taken == expected + 4
    contents.close()
    assert readers_end()


def test_an_error_of_reading_comes_at_its_place() -> None:
    contents = read_ahead([3, 1, 0, 2], lambda item: 6 / item)
    assert [next(contents), next(contents)] == [2, 6]
    with pytest.raises(ZeroDivisionError):
        next(contents)
    assert list(contents) == []
    assert readers_end()


def test_an_error_of_the_items_comes_after_what_was_before() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the camera is gone")

    contents = read_ahead(items(), lambda item: item)
    assert [next(contents), next(contents)] == [1, 2]
    with pytest.raises(OSError, match="camera"):
        next(contents)
    assert readers_end()


def test_threads_end_with_the_generator() -> None:
    contents = read_ahead(itertools.count(), lambda item: item)
    next(contents)
    assert readers()
    del contents
    gc.collect()
    assert readers_end()


@pytest.mark.parametrize("end", ["interrupt", "close", "error"])
def test_nobody_waits_for_what_is_read_when_it_ends(end: str) -> None:
    go_on = threading.Event()

    def slow(item: int) -> None:
        if item == 2:
            raise OSError("the second image is broken")
        if item > 2:
            assert go_on.wait(timeout=60)

    def items() -> Iterator[int]:
        yield from (1, 2, 3) if end == "error" else (1, 3, 3)
        if end == "interrupt":
            raise KeyboardInterrupt
        yield 3

    contents = read_ahead(items(), slow)
    if end == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            next(contents)
    else:
        next(contents)
        if end == "close":
            contents.close()
        else:
            with pytest.raises(OSError, match="broken"):
                next(contents)
    assert not go_on.is_set()
    assert readers()
    go_on.set()
    assert readers_end()


def test_the_end_of_the_process_waits_for_no_reader() -> None:
    program = (
        "import time\n"
        "from samclip_sdk.system.reading_ahead import read_ahead\n"
        "contents = read_ahead([0, 600], time.sleep)\n"
        "next(contents)\n"
        "raise KeyboardInterrupt\n"
    )
    assert run_program(program).stderr.endswith("KeyboardInterrupt\n")


def test_what_was_handed_out_is_not_kept() -> None:
    """By a thread that waits for the next one."""

    class Image:
        pass

    contents = read_ahead(itertools.chain([1], itertools.repeat(2)), lambda item: Image())
    image = weakref.ref(next(contents))
    next(contents)
    gc.collect()
    assert image() is None
    contents.close()
    assert readers_end()
