"""Tensors that stay on the GPU from one TensorRT session to the next, on the fake one."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.client import SamClip
from samclip_sdk.errors import SamClipError
from samclip_sdk.picture.frame import Frame
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.runtimes.device_copies import seal
from samclip_sdk.runtimes.tensorrt.cuda import DeviceMemoryError
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.session import TrtSession
from tests.fake_source import FakeSource, picture
from tests.runtimes.tensorrt.fake_tensorrt import FakeCuda, fake_session, vector_spec
from tests.runtimes.test_sessions import SPEC, check, expected, feed

X = np.arange(4, dtype=np.float32)[None]


class Pair:
    """An encoder that doubles and a head that adds one, on one GPU."""

    def __init__(self, *, remembered_bytes: int = 1 << 20, half: bool = False) -> None:
        self.cuda = FakeCuda()
        self.memory = DeviceMemory(self.cuda, remembered_bytes=remembered_bytes)
        self.encoder = fake_session(
            vector_spec("x", "y"),
            answer=lambda feed: {"y": 2 * feed["x"]},
            memory=self.memory,
            half=half,
        )
        self.head = self.open_head(self.memory)

    def open_head(self, memory: DeviceMemory, *, half: bool = False) -> TrtSession:
        return fake_session(
            vector_spec("y", "z"),
            answer=lambda feed: {"z": feed["y"] + 1},
            memory=memory,
            half=half,
        )

    def encode(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self.encoder.run({"x": x})["y"]

    def uploads(self, y: np.ndarray[Any, Any], *, head: TrtSession | None = None) -> int:
        """Feeds the head, checks its answer, and counts what was uploaded for it."""
        before = len(self.cuda.uploaded)
        found = (head or self.head).run({"y": y})["z"]
        np.testing.assert_array_equal(found, y + 1)
        return len(self.cuda.uploaded) - before


class TestDeviceMemory:
    def test_an_output_stays_on_the_gpu(self) -> None:
        pair = Pair()
        y = pair.encode(X)
        assert pair.uploads(y) == 0
        assert pair.uploads(y) == 0

    def test_an_image_embedding_stays_on_the_gpu(self) -> None:
        """What the client keeps is a view of what the session returned."""
        encoder = GraphSpec(
            inputs=(TensorSpec(name="image", dtype="uint8", shape=(1, 3, 4, 4)),),
            outputs=tuple(
                TensorSpec(name=name, dtype="float32", shape=(1, 2, 2, 2))
                for name in ("image_tokens", "image_embeddings")
            ),
        )
        memory = DeviceMemory(cuda := FakeCuda())
        image = np.ones((1, 3, 4, 4), np.uint8)
        tokens = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
        encoded = fake_session(
            encoder,
            answer=lambda feed: {"image_tokens": tokens, "image_embeddings": -tokens},
            memory=memory,
        ).run({"image": image})
        embedding = ImageEmbedding(
            image_tokens=np.asarray(encoded["image_tokens"], dtype=np.float32),
            image_embeddings=np.asarray(encoded["image_embeddings"], dtype=np.float32),
            frame=Frame.fit(4, 4, resolution=4),
            bundle_id="",
        )
        del encoded
        gc.collect()
        memory.attach()
        with memory.lock:
            for array, wanted in (
                (embedding.image_tokens, tokens),
                (embedding.image_embeddings, -tokens),
            ):
                buffer = memory.find(array, dtype=np.dtype("float32"))
                assert buffer is not None
                found = cuda.read(buffer.address, dtype="float32", shape=wanted.shape)
                np.testing.assert_array_equal(found, wanted)

    def test_what_is_on_the_gpu_cannot_be_changed_on_the_host(self) -> None:
        y = Pair().encode(X)
        for array in (y, y[:], y.view(), np.asarray(y), y.base):
            assert isinstance(array, np.ndarray)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
            with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
                array.flags.writeable = True

    def test_other_arrays_are_uploaded(self) -> None:
        pair = Pair()
        y = pair.encode(X)
        changed = y.copy()
        assert pair.uploads(changed) == 1
        changed += 1
        assert pair.uploads(changed) == 1
        assert pair.uploads(y[:, ::-1]) == 1
        assert pair.uploads(np.broadcast_to(y[:, :1], (1, 4))) == 1
        assert pair.uploads(y.view(np.int32).view(np.float32)) == 0

    def test_a_part_of_an_output_is_uploaded(self) -> None:
        """It starts where the remembered array starts, and is shorter."""
        memory = DeviceMemory(cuda := FakeCuda())
        y = fake_session(
            vector_spec("x", "y", width=8), answer=lambda f: {"y": f["x"]}, memory=memory
        ).run({"x": np.arange(8, dtype=np.float32)[None]})["y"]
        head = fake_session(vector_spec("y", "z"), answer=lambda f: {"z": f["y"]}, memory=memory)
        for part in (y[:, :4], y[:, 4:]):
            np.testing.assert_array_equal(head.run({"y": part})["z"], part)
        assert [len(each) for each in cuda.uploaded] == [32, 16, 16]

    def test_an_array_at_the_place_of_one_that_is_gone(self) -> None:
        """Ids of Python objects come back; what they stood for does not."""
        pair = Pair()
        for step in range(50):
            y = pair.encode(X + step)
            np.testing.assert_array_equal(y, 2 * (X + step))
            assert pair.uploads(y) == 0
            del y
            assert pair.uploads(2 * X) == 1

    def test_buffers_are_used_again(self) -> None:
        pair = Pair()
        for _ in range(2):
            pair.uploads(pair.encode(X))
        used = pair.cuda.allocations
        for _ in range(20):
            pair.uploads(pair.encode(X))
        assert pair.cuda.allocations == used

    def test_forgets_what_was_not_used_for_longest(self) -> None:
        pair = Pair(remembered_bytes=4 * 256)
        first, second = pair.encode(X), pair.encode(X + 1)
        assert pair.uploads(first) == 0
        third, fourth = pair.encode(X + 2), pair.encode(X + 3)
        assert [pair.uploads(y) for y in (fourth, third, first)] == [0, 0, 0]
        assert pair.uploads(second) == 1

    def test_remembers_nothing_if_it_may_not(self) -> None:
        pair = Pair(remembered_bytes=0)
        assert pair.uploads(pair.encode(X)) == 1

    def test_another_memory_does_not_know_the_array(self) -> None:
        pair = Pair()
        y = pair.encode(X)
        other = DeviceMemory(FakeCuda())
        np.testing.assert_array_equal(pair.open_head(other).run({"y": y})["z"], y + 1)

    def test_an_fp16_output_stays_for_fp16_inputs_only(self) -> None:
        pair = Pair(half=True)
        y = pair.encode(X)
        half_head = pair.open_head(pair.memory, half=True)
        assert y.dtype == np.float32
        assert pair.uploads(y, head=half_head) == 0
        assert pair.uploads(y) == 1

    def test_the_last_session_frees_everything(self) -> None:
        pair = Pair()
        y = pair.encode(X)
        pair.uploads(y)
        pair.encoder.close()
        assert pair.uploads(y) == 0
        pair.head.close()
        pair.head.close()
        assert not pair.cuda.blocks
        assert not pair.cuda.streams
        assert pair.uploads(y, head=pair.open_head(pair.memory)) == 1

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

    @pytest.mark.parametrize("shape", [(1,), (2, 3), (1, 2, 3, 4)])
    def test_a_seal_keeps_the_values(self, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        sealed = seal(values.copy())
        np.testing.assert_array_equal(sealed, values)
        assert (sealed.shape, sealed.dtype) == (shape, np.float32)


class DeviceSource(FakeSource):
    """The fake model with its graphs on the fake GPU."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cuda = FakeCuda()
        self.memory = DeviceMemory(self.cuda)

    def session(self, graph: str) -> Any:
        inner = super().session(graph)
        return fake_session(self._specs[graph], answer=inner.run, memory=self.memory)


class TestClient:
    def test_the_same_answers_with_tensors_that_stay(self, tmp_path: Path) -> None:
        source = DeviceSource(tmp_path)
        model, plain = SamClip(source), SamClip(FakeSource(tmp_path))
        image, other = model.encode_image(picture()), plain.encode_image(picture())
        source.cuda.uploaded.clear()
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
        uploaded = set(source.cuda.uploaded)
        assert not {image.image_tokens.tobytes(), image.image_embeddings.tobytes()} & uploaded
        decoded = source.sessions["mask_decoder"].feeds
        assert len(decoded) == 3
        assert not {feed["dense_embeddings"].tobytes() for feed in decoded} & uploaded
        model.close()
        assert not source.cuda.blocks

    def test_a_loaded_embedding_is_uploaded(self, tmp_path: Path) -> None:
        source = DeviceSource(tmp_path)
        model = SamClip(source)
        image = model.encode_image(picture())
        image.save(tmp_path / "image.npz")
        loaded = ImageEmbedding.load(tmp_path / "image.npz")
        source.cuda.uploaded.clear()
        model.classify(loaded, ["dog"])
        assert image.image_tokens.tobytes() in source.cuda.uploaded
