"""TensorRT sessions: the contract, and tensors that stay on the GPU.

What runs here on a machine without a GPU runs against `fake_tensorrt`, which see for what that
proves. The same contract, and the model itself, run on a GPU where `-m gpu` is given.
"""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.bundle import open_bundle
from samclip_sdk.client import SamClip
from samclip_sdk.contract import contract_graphs
from samclip_sdk.errors import BundleError, PromptError, RuntimeMissingError, SamClipError
from samclip_sdk.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.image import Frame
from samclip_sdk.results import ImageEmbedding
from samclip_sdk.runtimes import GraphFile, Session
from samclip_sdk.runtimes.base import Arrays
from samclip_sdk.runtimes.device_copies import seal
from samclip_sdk.runtimes.ort import OrtSession
from samclip_sdk.runtimes.trt import (
    EngineRefusedError,
    TrtSession,
    load_or_rebuild,
    open_trt_session,
)
from samclip_sdk.runtimes.trt_cuda import CudaRuntime, DeviceMemoryError, Gpu, import_cudart
from samclip_sdk.runtimes.trt_engine import CompiledEngine
from samclip_sdk.runtimes.trt_memory import DeviceMemory
from tests.example_bundle import CONFIG
from tests.fake_source import FakeSource, picture
from tests.runtimes import test_sessions as contract
from tests.runtimes.fake_tensorrt import (
    FakeCuda,
    FakeCudart,
    FakeEngine,
    no_reason,
    vector_spec,
)
from tests.runtimes.test_sessions import SPEC, check, expected, feed, write_onnx

ROWS = {"rows": (1, 4, 16)}


def open_fake(folder: Path) -> Session:
    return fake_session(SPEC, answer=expected)


def open_on_gpu(folder: Path) -> Session:
    file = GraphFile(write_onnx(folder / "graph.onnx"))
    return open_trt_session(file, spec=SPEC, cache=folder / "cache", profile=ROWS)


def fake_session(
    spec: GraphSpec,
    *,
    answer: Callable[[Arrays], Arrays],
    memory: DeviceMemory | None = None,
    half: bool = False,
) -> TrtSession:
    memory = memory or DeviceMemory(FakeCuda())
    cuda = memory.cuda
    assert isinstance(cuda, FakeCuda)
    engine = FakeEngine(spec, answer=answer, cuda=cuda, half=half)
    return TrtSession(engine, spec=spec, memory=memory, reason=no_reason)


@pytest.fixture(params=[open_fake, pytest.param(open_on_gpu, marks=pytest.mark.gpu)])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    opener: Callable[[Path], Session] = request.param
    opened = opener(tmp_path)
    yield opened
    opened.close()


# The contract of every runtime, collected here once more with the fixture above. 17 rows are more
# than the engine takes in one call.
test_says_what_it_takes_and_returns = contract.test_says_what_it_takes_and_returns
test_runs = contract.test_runs
test_binds_by_name = contract.test_binds_by_name
test_takes_arrays_of_any_layout = contract.test_takes_arrays_of_any_layout
test_neither_keeps_nor_changes_its_arrays = contract.test_neither_keeps_nor_changes_its_arrays
test_refuses_a_feed = contract.test_refuses_a_feed
test_refuses_a_feed_that_lacks_an_input = contract.test_refuses_a_feed_that_lacks_an_input
test_closes = contract.test_closes


@pytest.mark.parametrize("rows", [16, 32, 40])
def test_splits_what_is_more_than_the_engine_takes(session: Session, rows: int) -> None:
    check(session, feed(rows))


def test_refuses_no_rows(session: Session) -> None:
    with pytest.raises(PromptError, match="rows is 0, the engine takes 1 to 16"):
        session.run(feed(0))


class TestSession:
    def test_calls_of_a_split(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda)
        session = TrtSession(engine, spec=SPEC, memory=DeviceMemory(cuda), reason=no_reason)
        session.run(feed(33))
        assert [shapes["left"][0] for shapes in engine.contexts[0].shapes] == [16, 16, 1]
        assert {shapes["count"] for shapes in engine.contexts[0].shapes} == {(1,)}

    def test_too_many_points(self) -> None:
        spec = contract_graphs(CONFIG, resolutions=[])["prompt_encoder"]
        session = fake_session(spec, answer=lambda feed: {})
        lengths = {"num_prompts": 2, "num_points": 17}
        given = {
            each.name: np.zeros([lengths.get(axis, axis) for axis in each.shape], each.dtype)
            for each in spec.inputs
        }
        with pytest.raises(PromptError, match="num_points is 17, the engine takes 1 to 16"):
            session.run(given)

    def test_an_fp16_engine_keeps_the_contracts_dtypes(self) -> None:
        session = fake_session(SPEC, answer=expected, half=True)
        found = session.run(feed())
        for name, wanted in expected(feed()).items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], wanted, atol=1e-2)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"name": "third"}, "the engine has the tensors .*'third': 'INPUT'"),
            ({"dtype": "int32"}, r"right is int32\[-1, 3\], the contract says float32"),
            ({"shape": ("rows", 4)}, r"right is float32\[-1, 4\], the contract says float32"),
            ({"shape": (2, 3)}, r"right is float32\[2, 3\], the contract says float32"),
        ],
    )
    def test_refuses_an_engine_that_breaks_the_contract(
        self, change: dict[str, Any], message: str
    ) -> None:
        left, right, count = SPEC.inputs
        other = SPEC.model_copy(update={"inputs": (left, right.model_copy(update=change), count)})
        cuda = FakeCuda()
        engine = FakeEngine(other, answer=expected, cuda=cuda)
        with pytest.raises(BundleError, match=message):
            TrtSession(engine, spec=SPEC, memory=DeviceMemory(cuda), reason=no_reason)

    def test_no_memory_for_a_run(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda, has_memory=False)
        with pytest.raises(SamClipError, match="could not reserve the GPU memory of a run: full"):
            TrtSession(engine, spec=SPEC, memory=DeviceMemory(cuda), reason=lambda: "full")

    def test_a_run_that_fails_gives_everything_back(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda)
        memory = DeviceMemory(cuda)
        session = TrtSession(engine, spec=SPEC, memory=memory, reason=lambda: "sparks")
        check(session, feed())
        used = len(cuda.blocks)
        engine.contexts[0].fails = True
        for _ in range(3):
            with pytest.raises(SamClipError, match="could not run the graph: sparks"):
                session.run(feed())
        engine.contexts[0].fails = False
        check(session, feed())
        assert len(cuda.blocks) == used
        session.close()
        assert not cuda.blocks
        assert not cuda.streams

    def test_threads_take_turns(self) -> None:
        memory = DeviceMemory(FakeCuda())
        sessions = [fake_session(SPEC, answer=expected, memory=memory) for _ in range(2)]
        failures: list[BaseException] = []

        def work(session: TrtSession) -> None:
            try:
                for rows in range(1, 40):
                    check(session, feed(rows))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(each,)) for each in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


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


class TestRebuild:
    """What happens to an engine from another GPU or version."""

    def compiled(self, path: Path, *, fresh: list[bool]) -> Callable[[], CompiledEngine]:
        def compile_() -> CompiledEngine:
            built = not path.exists()
            fresh.append(built)
            path.touch()
            return CompiledEngine(path, data=b"new" if built else b"old", built=built)

        return compile_

    def deserialize(self, data: bytes) -> str:
        if data == b"old":
            raise EngineRefusedError("TensorRT refuses the engine: another version")
        return "engine"

    def test_a_refused_engine_of_the_cache_is_built_again(self, tmp_path: Path) -> None:
        path = tmp_path / "graph.engine"
        path.touch()
        fresh: list[bool] = []
        compile_ = self.compiled(path, fresh=fresh)
        assert load_or_rebuild(compile_, deserialize=self.deserialize) == "engine"
        assert fresh == [False, True]

    @pytest.mark.parametrize("cached", [False, True])
    def test_a_fresh_engine_that_is_refused_is_an_error(self, tmp_path: Path, cached: bool) -> None:
        path = tmp_path / "graph.engine"
        if cached:
            path.touch()
        fresh: list[bool] = []

        def refuse(data: bytes) -> None:
            raise EngineRefusedError("TensorRT refuses the engine: it does not like it")

        with pytest.raises(BundleError, match="does not like it"):
            load_or_rebuild(self.compiled(path, fresh=fresh), deserialize=refuse)
        assert fresh == ([False, True] if cached else [True])


class TestCuda:
    def test_tells_the_gpu(self) -> None:
        assert CudaRuntime(FakeCudart()).gpu == Gpu("NVIDIA Pretend 4090", "8.9")

    def test_calls(self) -> None:
        cudart = FakeCudart()
        cuda = CudaRuntime(cudart)
        cudart.calls.clear()
        array = np.zeros(3, np.float32)
        host = array.ctypes.data
        assert (cuda.allocate(12), cuda.create_stream()) == (4096, 7)
        cuda.upload(array, address=4096, stream=7)
        cuda.download(array, address=4096, stream=7)
        cuda.synchronize(7)
        cuda.destroy_stream(7)
        cuda.free(4096)
        assert cudart.calls == [
            ("cudaMalloc", 12),
            ("cudaStreamCreate",),
            ("cudaMemcpyAsync", 4096, host, 12, 1, 7),
            ("cudaMemcpyAsync", host, 4096, 12, 2, 7),
            ("cudaStreamSynchronize", 7),
            ("cudaStreamDestroy", 7),
            ("cudaFree", 4096),
        ]

    def test_the_real_binding_has_these_calls(self) -> None:
        """No GPU is needed to look them up."""
        cudart = import_cudart()
        for function in (
            *("cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaGetErrorString"),
            *("cudaMalloc", "cudaFree", "cudaMemcpyAsync"),
            *("cudaStreamCreate", "cudaStreamSynchronize", "cudaStreamDestroy"),
        ):
            assert callable(getattr(cudart, function))
        kinds = cudart.cudaMemcpyKind
        assert (kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost) == (1, 2)

    @pytest.mark.parametrize(
        "cudart", [FakeCudart(count=0), FakeCudart(codes={"cudaGetDeviceCount": 35})]
    )
    def test_no_gpu(self, cudart: FakeCudart) -> None:
        with pytest.raises(RuntimeMissingError, match=r"no NVIDIA GPU is visible: .*nvidia-smi"):
            CudaRuntime(cudart)

    def test_faults(self) -> None:
        cuda = CudaRuntime(FakeCudart(codes={"cudaMalloc": 2, "cudaStreamSynchronize": 700}))
        with pytest.raises(DeviceMemoryError, match=r"memory is full \(cudaMalloc: it is broken\)"):
            cuda.allocate(1)
        with pytest.raises(SamClipError, match=r"it is broken \(CUDA error 700\)"):
            cuda.synchronize(0)

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
        monkeypatch.setitem(sys.modules, "cuda.cudart", None)
        with pytest.raises(RuntimeMissingError, match=r'pip install "samclip-sdk\[tensorrt\]"'):
            import_cudart()

    def test_the_real_binding_takes_these_arguments(self) -> None:
        """With every GPU hidden each call fails for want of one, and none for its arguments."""
        program = """
import numpy as np
from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.trt_cuda import CudaRuntime, import_cudart
from tests.runtimes.fake_tensorrt import FakeCudart

class Binding:
    real, fake = import_cudart(), FakeCudart()

    def __getattr__(self, name):
        return getattr(self.fake if name.startswith("cudaGetDevice") else self.real, name)

cuda, array = CudaRuntime(Binding()), np.zeros(3, np.float32)
for call in (
    lambda: cuda.allocate(12),
    lambda: cuda.free(4096),
    lambda: cuda.create_stream(),
    lambda: cuda.upload(array, address=4096, stream=7),
    lambda: cuda.download(array, address=4096, stream=7),
    lambda: cuda.synchronize(7),
    lambda: cuda.destroy_stream(7),
):
    try:
        call()
    except SamClipError as error:
        print(error)
"""
        lines = run_without_gpu(program).splitlines()
        assert len(lines) == 7
        assert all("(CUDA error" in line for line in lines)

    def test_opening_a_bundle_without_a_gpu(self) -> None:
        program = """
from pathlib import Path
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.graph_spec import GraphSpec
from samclip_sdk.runtimes.base import GraphFile
from samclip_sdk.runtimes.trt import open_trt_session

try:
    open_trt_session(GraphFile(Path("g")), spec=GraphSpec(inputs=(), outputs=()))
except RuntimeMissingError as error:
    print(error)
"""
        assert run_without_gpu(program).startswith("no NVIDIA GPU is visible: ")


def run_without_gpu(program: str) -> str:
    """Runs a program from which every GPU is hidden; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"CUDA_VISIBLE_DEVICES": "-1"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


class RecordingCuda(CudaRuntime):
    """The real GPU; remembers what was uploaded."""

    def __init__(self) -> None:
        super().__init__(import_cudart())
        self.uploaded: list[bytes] = []

    def upload(self, array: np.ndarray[Any, Any], *, address: int, stream: int) -> None:
        self.uploaded.append(array.tobytes())
        super().upload(array, address=address, stream=stream)


class GpuSource:
    """The embedded bundle on the real GPU, its engines in a folder of their own."""

    def __init__(self, cache: Path) -> None:
        self.bundle = open_bundle("samclip-tiny")
        self.id, self.manifest = self.bundle.id, self.bundle.manifest
        self.tokenizer_path = self.bundle.file("tokenizer.json")
        self.cuda = RecordingCuda()
        self.memory = DeviceMemory(self.cuda)
        self._cache = cache

    def session(self, graph: str) -> TrtSession:
        spec = self.manifest.graphs[graph]
        return open_trt_session(
            self.bundle.graph_files(graph, runtime="onnx")[0],
            spec=spec,
            memory=self.memory,
            cache=self._cache,
        )


@pytest.fixture(scope="module")
def gpu_source(tmp_path_factory: pytest.TempPathFactory) -> GpuSource:
    return GpuSource(tmp_path_factory.mktemp("engines"))


def example_feed(spec: GraphSpec, *, count: int, points: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random values of the kinds that each input has."""
    rng = np.random.default_rng(count)
    lengths = {"num_texts": count, "num_prompts": count, "num_points": points}
    given: dict[str, np.ndarray[Any, Any]] = {}
    for each in spec.inputs:
        shape = [lengths.get(axis, axis) for axis in each.shape]
        values = rng.normal(size=shape)
        if each.name == "image":
            values = rng.integers(0, 256, size=shape)
        elif each.name == "input_ids":
            values = np.zeros(shape)
            values[:, :4] = (49406, 320, 1929, 49407)
        elif each.name == "point_labels":
            values = rng.integers(-2, 4, size=shape)
        elif each.name == "point_coords":
            values = rng.uniform(0, 200, size=shape)
        elif each.name in ("sparse_mask", "token_mask", "has_mask_input"):
            values = np.ones(shape)
        given[each.name] = values.astype(each.dtype)
    return given


@pytest.mark.gpu
class TestOnGpu:
    @pytest.mark.parametrize(("count", "points"), [(1, 1), (3, 2), (20, 16)])
    @pytest.mark.parametrize("graph", sorted(open_bundle("samclip-tiny").manifest.graphs))
    def test_computes_what_onnxruntime_computes(
        self, gpu_source: GpuSource, graph: str, count: int, points: int
    ) -> None:
        spec = gpu_source.manifest.graphs[graph]
        file = gpu_source.bundle.graph_files(graph, runtime="onnx")[0]
        given = example_feed(spec, count=count, points=points)
        wanted = OrtSession(file.path, spec=spec).run(given)
        session = gpu_source.session(graph)
        found = session.run(given)
        session.close()
        for name, array in wanted.items():
            scale = np.abs(array).max()
            np.testing.assert_allclose(found[name] / scale, array / scale, atol=2e-4)

    def test_tensors_stay_on_the_gpu(self, gpu_source: GpuSource) -> None:
        model, plain = SamClip(gpu_source), SamClip.load("onnx")
        photo = np.random.default_rng(0).integers(0, 256, size=(90, 120, 3)).astype(np.uint8)
        image, other = model.encode_image(photo), plain.encode_image(photo)
        gpu_source.cuda.uploaded.clear()
        box = [[10, 10, 60, 70]]
        found, wanted = model.segment(image, boxes=box), plain.segment(other, boxes=box)
        assert (found.masks == wanted.masks).mean() > 0.99
        np.testing.assert_allclose(
            model.classify(image, ["dog", "cat"]).probs,
            plain.classify(other, ["dog", "cat"]).probs,
            atol=1e-3,
        )
        held = {image.image_tokens.tobytes(), image.image_embeddings.tobytes()}
        assert not held & set(gpu_source.cuda.uploaded)
        model.close()

    def test_an_engine_that_tensorrt_refuses_is_built_again(self, tmp_path: Path) -> None:
        open_on_gpu(tmp_path).close()
        (path,) = (tmp_path / "cache").glob("*.engine")
        header = json.loads(path.read_bytes().partition(b"\n")[0])
        junk = b"an engine of another version"
        header["engine_sha256"] = hashlib.sha256(junk).hexdigest()
        path.write_bytes(json.dumps(header).encode() + b"\n" + junk)
        session = open_on_gpu(tmp_path)
        check(session, feed())
        session.close()
        assert path.stat().st_size > 1000
