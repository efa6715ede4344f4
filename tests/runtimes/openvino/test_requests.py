"""How calls share the requests of a graph."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Thread

import pytest

from samclip_sdk.runtimes.openvino.requests import Requests


class Maker:
    """Makes requests that say how many were made with them; the first time that is one."""

    def __init__(self, *, failures: int = 0) -> None:
        self.asked: list[int] = []
        self.failures = failures

    def __call__(self, count: int) -> list[str]:
        self.asked.append(count)
        if count > 1 and self.failures:
            self.failures -= 1
            raise OSError("no memory")
        return [f"{place + 1} of {count}" for place in range(count)]


def take(requests: Requests, taken: list[str]) -> None:
    try:
        with requests.lent() as one:
            taken.append(one)
    except ValueError as error:
        taken.append(str(error))


def test_calls_one_after_another_take_the_same() -> None:
    make = Maker()
    requests = Requests(make, at_most=3)
    for _ in range(3):
        with requests.lent() as one:
            assert one == "1 of 1"
    assert make.asked == [1]


def test_when_two_calls_meet_there_are_as_many_as_there_may_be() -> None:
    make = Maker()
    requests = Requests(make, at_most=3)
    with requests.lent() as first, requests.lent() as second:
        assert (first, second) == ("1 of 1", "3 of 3")
    with ExitStack() as calls:
        several = [calls.enter_context(requests.lent()) for _ in range(3)]
    assert sorted(several) == ["1 of 3", "2 of 3", "3 of 3"]  # the first one is not lent again
    assert make.asked == [1, 3]


@pytest.mark.parametrize("at_most", [1, 2])
def test_a_call_too_many_waits(at_most: int) -> None:
    requests, taken = Requests(Maker(), at_most=at_most), list[str]()
    with ExitStack() as calls:
        for _ in range(2 * at_most - 1):  # of two, the first is replaced when they meet
            calls.enter_context(requests.lent())
        waiting = Thread(target=take, args=(requests, taken))
        waiting.start()
        waiting.join(timeout=0.05)
        assert not taken
    waiting.join()
    assert len(taken) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    requests = Requests(Maker(failures=1), at_most=2)
    with requests.lent():
        with pytest.raises(OSError, match="no memory"), requests.lent():
            pass
        with requests.lent() as second:
            assert second == "2 of 2"


def test_closed() -> None:
    requests, taken = Requests(Maker(), at_most=1), list[str]()
    with requests.lent():
        waiting = Thread(target=take, args=(requests, taken))
        waiting.start()
        requests.close()
        waiting.join()
    requests.close()
    take(requests, taken)
    assert taken == ["the session is closed"] * 2
