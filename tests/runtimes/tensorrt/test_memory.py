"""The GPU memory that TensorRT's sessions share, on the fake GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.client import SamClip
from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.tensorrt.cuda import DeviceMemoryError
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from tests.fake_source import FakeSource, picture
from tests.runtimes.tensorrt.fake_tensorrt import FakeCuda, fake_session, vector_spec
from tests.runtimes.test_sessions import SPEC, check, expected, feed

X = np.arange(4, dtype=np.float32)[None]


class Pair:
    """An encoder that doubles and a head that adds one, on one GPU."""

    def __init__(self) -> None:
        self.cuda = FakeCuda()
        self.memory = DeviceMemory(self.cuda)
        self.encoder = fake_session(
            vector_spec("x", "y"), answer=lambda feed: {"y": 2 * feed["x"]}, memory=self.memory
        )
        self.head = fake_session(
            vector_spec("y", "z"), answer=lambda feed: {"z": feed["y"] + 1}, memory=self.memory
        )

    def check(self) -> None:
        y = self.encoder.run({"x": X})["y"]
        np.testing.assert_array_equal(self.head.run({"y": y})["z"], 2 * X + 1)


class TestDeviceMemory:
    def test_buffers_are_used_again(self) -> None:
        pair = Pair()
        for _ in range(2):
            pair.check()
        used = pair.cuda.allocations
        for _ in range(20):
            pair.check()
        assert pair.cuda.allocations == used

    def test_the_last_session_frees_everything(self) -> None:
        pair = Pair()
        pair.check()
        pair.encoder.close()
        assert pair.cuda.streams
        pair.head.run({"y": X})
        pair.head.close()
        pair.head.close()
        assert not pair.cuda.blocks
        assert not pair.cuda.streams

    def test_makes_room_when_memory_is_full(self) -> None:
        cuda = FakeCuda(capacity_bytes=4 * 256)
        memory = DeviceMemory(cuda)
        memory.attach()
        with memory.lock:
            for buffer in [memory.take(200) for _ in range(4)]:
                memory.give(buffer)
            large = memory.take(500)
            assert large.capacity_bytes == 512
            with pytest.raises(DeviceMemoryError, match="full"):
                memory.take(1000)
            memory.give(large)
            memory.give(memory.take(1000))
        memory.detach()
        assert not cuda.blocks

    def test_a_graph_that_does_not_fit(self) -> None:
        memory = DeviceMemory(cuda := FakeCuda(capacity_bytes=300))
        session = fake_session(SPEC, answer=expected, memory=memory)
        with pytest.raises(SamClipError, match="memory is full"):
            session.run(feed())
        cuda.capacity_bytes = 10_000
        check(session, feed())


class DeviceSource(FakeSource):
    """The fake model with its graphs on the fake GPU."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cuda = FakeCuda()
        self.memory = DeviceMemory(self.cuda)

    def session(self, graph: str) -> Any:
        inner = super().session(graph)
        return fake_session(self._specs[graph], answer=inner.run, memory=self.memory)


def test_a_client_gets_the_same_answers(tmp_path: Path) -> None:
    source = DeviceSource(tmp_path)
    model, plain = SamClip(source), SamClip(FakeSource(tmp_path))
    image, other = model.encode_image(picture()), plain.encode_image(picture())
    labels = ["dog", "cat", "horse"]
    found, wanted = model.segment_text(image, labels), plain.segment_text(other, labels)
    np.testing.assert_array_equal(found.presence, wanted.presence)
    np.testing.assert_array_equal(found.class_map, wanted.class_map)
    boxes = [[x, 5, x + 20, 45] for x in range(20)]
    np.testing.assert_array_equal(
        model.segment(image, boxes=boxes).masks, plain.segment(other, boxes=boxes).masks
    )
    found_probs = model.classify(image, labels).probs
    np.testing.assert_array_equal(found_probs, plain.classify(other, labels).probs)
    model.close()
    assert not source.cuda.blocks
