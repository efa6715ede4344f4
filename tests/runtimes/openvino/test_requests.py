"""How calls share the requests of a graph."""

from __future__ import annotations

import itertools
from threading import Thread

import pytest

from samclip_sdk.runtimes.openvino.requests import Requests


def counted(at_most: int) -> Requests:
    """Of the numbers 0, 1, ..., in the order in which they were made."""
    return Requests(itertools.count().__next__, at_most=at_most)


def test_calls_one_after_another_take_the_same() -> None:
    requests = counted(at_most=3)
    for _ in range(3):
        with requests.lent() as one:
            assert one == 0


def test_calls_at_once_take_one_each_and_the_last_to_come_back_is_lent_first() -> None:
    requests = counted(at_most=3)
    with requests.lent() as first:
        with requests.lent() as second:
            assert (first, second) == (0, 1)
        with requests.lent() as again:
            assert again == 1


def test_a_call_too_many_waits() -> None:
    requests, taken = counted(at_most=1), list[int]()

    def take() -> None:
        with requests.lent() as one:
            taken.append(one)

    with requests.lent():
        waiting = Thread(target=take)
        waiting.start()
        waiting.join(timeout=0.05)
        assert not taken
    waiting.join()
    assert taken == [0]


def test_what_could_not_be_made_is_tried_again() -> None:
    attempts = iter([OSError("no memory"), None])

    def make() -> str:
        if error := next(attempts):
            raise error
        return "made"

    requests = Requests(make, at_most=1)
    with pytest.raises(OSError, match="no memory"), requests.lent():
        pass
    with requests.lent() as one:
        assert one == "made"


def test_closed() -> None:
    requests, refused = counted(at_most=1), list[str]()

    def take() -> None:
        try:
            with requests.lent():
                pass
        except ValueError as error:
            refused.append(str(error))

    with requests.lent():
        waiting = Thread(target=take)
        waiting.start()
        requests.close()
        waiting.join()
    requests.close()
    take()
    assert refused == ["the session is closed"] * 2
