"""How cost grows: every size is asked what its axis says, in turn, and shown in a table."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest

from benchmarks import growth
from tests.benchmarks.measured import measure
from tests.drawings import TINY_BUNDLE


def test_sizes_are_timed_in_turn_and_the_first_run_does_not_count() -> None:
    order: list[float] = []
    works = {size: partial(order.append, size) for size in (1, 10.5)}
    part = measure(growth.add_axis, "labels", works, suite="growth", rounds=2)
    assert order == [1, 10.5] * 3
    assert [*part.splits("labels", "ms")] == ["1", "10.5"]
    assert part.get("labels", "ms", "1").n == 2


def test_clients_send_as_many_requests_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    def send(_server: object, requests: list[object], *, clients: int) -> list[object]:
        sent.append((clients, len(requests)))
        return requests

    monkeypatch.setattr(growth, "serving", lambda *_arguments: nullcontext())
    monkeypatch.setattr(growth, "send_all", send)
    for sizes in ("LABEL_COUNTS", "PROMPT_COUNTS", "MEGAPIXELS", "CLIENT_COUNTS"):
        monkeypatch.setattr(growth, sizes, getattr(growth, sizes)[:1])
    part = measure(growth.growth, str(TINY_BUNDLE), rounds=1, suite="growth")
    assert sent == [(1, growth.REQUESTS)] * 2
    assert [*part.subjects] == ["labels", "prompts", "megapixels", "clients"]
