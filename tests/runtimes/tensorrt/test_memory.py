"""The GPU memory that TensorRT's sessions share, on the fake GPU."""

from __future__ import annotations

import numpy as np
import pytest

from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.tensorrt.cuda import DeviceMemoryError
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
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
