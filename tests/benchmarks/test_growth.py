"""How cost grows: every size is asked what its axis says, in turn, and shown in a table."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from benchmarks import growth
from samclip_sdk import SamClip
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import TextMasks
from tests.benchmarks.measured import measure
from tests.drawings import TINY_BUNDLE


def test_sizes_are_timed_in_turn_and_the_first_run_does_not_count() -> None:
    order: list[float] = []
    works = ((size, lambda size=size: order.append(size)) for size in (1, 10.5))
    part = measure(growth.time_each, "labels", works, suite="growth", rounds=2)
    assert order == [1, 10.5] * 3
    assert [*part.splits("labels", "ms")] == ["1", "10.5"]
    assert part.get("labels", "ms", "1").n == 2


def test_every_size_asks_for_as_much() -> None:
    model = SamClip.load("onnx")
    asked = {count: work() for count, work in growth.of_labels(model, (1, 3))}
    assert [len(found.asked.labels) for found in asked.values()] == [1, 3]  # type: ignore[attr-defined]
    for count, work in growth.of_prompts(model, (1, 4)):
        masks = work()
        assert isinstance(masks, Masks)
        assert len(masks) == count
    for size, work in growth.of_megapixels(model, (0.1, 0.5)):
        found = work()
        assert isinstance(found, TextMasks)
        assert np.prod(found.size) == pytest.approx(1e6 * size, rel=0.01)


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
