"""A GPU and engines without a GPU: device memory is bytes on the host, an engine is a function.

They prove how a session uses CUDA and TensorRT: which tensors are bound where and copied when, that
nothing is read before it was written or after it was freed, that all is given back. They prove
nothing of TensorRT's arithmetic, nor that the real ones behave as written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensorrt.cuda import DeviceMemoryError, Gpu
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.session import TrtSession

GPU = Gpu(name="NVIDIA Pretend 4090", compute_capability="8.9")
LIMITS = {"num_texts": 16, "num_prompts": 16, "num_points": 16, "rows": 16}

_NAMES = {"uint8": "UINT8", "int32": "INT32", "float16": "HALF", "float32": "FLOAT"}
_GARBAGE = 0x5A


class FakeCuda:
    """Implements `Cuda`. What a stream is given happens when it is synchronised, not before.

    Attributes:
        blocks: address -> the bytes there.
        streams: those that live.
        capacity_bytes: how much memory there is.
        allocations: how many there have been.
    """

    gpu = GPU

    def __init__(self, *, capacity_bytes: int = 1 << 30) -> None:
        self.blocks: dict[int, bytearray] = {}
        self.streams: set[int] = set()
        self.capacity_bytes = capacity_bytes
        self.allocations = 0
        self._queue: list[Callable[[], None]] = []

    def allocate(self, size_bytes: int) -> int:
        if sum(map(len, self.blocks.values())) + size_bytes > self.capacity_bytes:
            raise DeviceMemoryError("the GPU's memory is full")
        self.allocations += 1
        address = self.allocations << 40
        self.blocks[address] = bytearray([_GARBAGE]) * size_bytes
        return address

    def free(self, address: int) -> None:
        del self.blocks[address]

    def create_stream(self) -> int:
        stream = 1 + len(self.streams)
        self.streams.add(stream)
        return stream

    def destroy_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def upload(self, array: np.ndarray[Any, Any], *, address: int, stream: int) -> None:
        assert array.flags.c_contiguous

        def copy() -> None:
            self.blocks[address][: array.nbytes] = array.tobytes()

        self.enqueue(copy, stream=stream)

    def download(self, array: np.ndarray[Any, Any], *, address: int, stream: int) -> None:
        assert array.flags.c_contiguous

        def copy() -> None:
            array.reshape(-1).view(np.uint8)[:] = self.blocks[address][: array.nbytes]

        array.reshape(-1).view(np.uint8)[:] = _GARBAGE
        self.enqueue(copy, stream=stream)

    def synchronize(self, stream: int) -> None:
        assert stream in self.streams
        while self._queue:
            self._queue.pop(0)()

    def enqueue(self, work: Callable[[], None], *, stream: int) -> None:
        assert stream in self.streams
        self._queue.append(work)

    def read(self, address: int, *, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape))
        return np.frombuffer(bytes(self.blocks[address]), dtype=dtype, count=count).reshape(shape)


class FakeEngine:
    """Looks like an ICudaEngine, as far as the session looks.

    Args:
        spec: the graph.
        answer: computes it, in the contract's dtypes.
        cuda: where its tensors lie.
        half: whether what is float32 in the contract is fp16 in the engine.

    Attributes:
        contexts: those made.
    """

    def __init__(
        self,
        spec: GraphSpec,
        *,
        answer: Callable[[Arrays], Arrays],
        cuda: FakeCuda,
        half: bool = False,
    ) -> None:
        self.spec, self.answer, self.cuda = spec, answer, cuda
        # In another order than the contract's: tensors are bound by name.
        self.tensors = {each.name: each for each in (*spec.outputs, *reversed(spec.inputs))}
        self.num_io_tensors = len(self.tensors)
        self.dtypes = {
            name: "float16" if half and each.dtype == "float32" else each.dtype
            for name, each in self.tensors.items()
        }
        self.contexts: list[FakeContext] = []

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        is_input = name in {each.name for each in self.spec.inputs}
        return SimpleNamespace(name="INPUT" if is_input else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=_NAMES[self.dtypes[name]])

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1 if isinstance(axis, str) else axis for axis in self.tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        assert profile == 0
        shape = self.tensors[name].shape
        greatest = [LIMITS[axis] if isinstance(axis, str) else axis for axis in shape]
        minimum = [1 if isinstance(axis, str) else axis for axis in shape]
        return [minimum, greatest, greatest]

    def create_execution_context(self) -> FakeContext:
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeContext:
    """Looks like an IExecutionContext; refuses what a profile would refuse.

    Attributes:
        shapes: of the inputs, for each run.
        fails: makes the next runs fail.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.shapes: list[dict[str, tuple[int, ...]]] = []
        self.fails = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        minimum, _, greatest = self._engine.get_tensor_profile_shape(name, 0)
        self._shapes[name] = shape
        return all(a <= n <= b for a, n, b in zip(minimum, shape, greatest, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self._engine.cuda.blocks
        self._addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        axes = {
            axis: length
            for each in self._engine.spec.inputs
            for axis, length in zip(each.shape, self._shapes[each.name], strict=True)
        }
        return [axes.get(axis, axis) for axis in self._engine.tensors[name].shape]

    def execute_async_v3(self, stream: int) -> bool:
        if self.fails:
            return False
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        self.shapes.append(shapes)
        self._engine.cuda.enqueue(lambda: self._compute(shapes, addresses), stream=stream)
        return True

    def _compute(self, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int]) -> None:
        engine = self._engine
        feed = {
            each.name: engine.cuda.read(
                addresses[each.name], dtype=engine.dtypes[each.name], shape=shapes[each.name]
            ).astype(each.dtype)
            for each in engine.spec.inputs
        }
        for name, array in engine.answer(feed).items():
            data = np.ascontiguousarray(array, dtype=engine.dtypes[name]).tobytes()
            block = engine.cuda.blocks[addresses[name]]
            assert len(data) <= len(block)
            block[: len(data)] = data


def vector_spec(name: str, result: str, *, width: int = 4) -> GraphSpec:
    """A graph of one vector in and one out."""
    return GraphSpec(
        inputs=(TensorSpec(name=name, dtype="float32", shape=(1, width)),),
        outputs=(TensorSpec(name=result, dtype="float32", shape=(1, width)),),
    )


class FakeCudart:
    """cuda-python's runtime module as far as `CudaRuntime` calls it: a code, then the results.

    Args:
        codes: function -> the error code that it returns.
        count: of GPUs.
    """

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, *, codes: Mapping[str, int] | None = None, count: int = 1) -> None:
        properties = SimpleNamespace(name=b"NVIDIA Pretend 4090\0\0", major=8, minor=9)
        self._results = {
            "cudaGetDeviceCount": (count,),
            "cudaGetDeviceProperties": (properties,),
            "cudaMalloc": (4096,),
            "cudaStreamCreate": (7,),
        }
        self._codes = dict(codes or {})

    def __getattr__(self, function: str) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            if function == "cudaGetErrorString":
                return 0, b"it is broken"
            code = self._codes.get(function, 0)
            # A binding gives None for the results of a call that failed.
            results = self._results.get(function, ())
            return (code, *(None if code else each for each in results))

        return call


def no_reason() -> str:
    raise SamClipError("nobody should have asked")


def fake_session(
    spec: GraphSpec,
    *,
    answer: Callable[[Arrays], Arrays],
    memory: DeviceMemory | None = None,
    half: bool = False,
) -> TrtSession:
    """A session of an engine that computes `answer`, on a fake GPU."""
    memory = memory or DeviceMemory(FakeCuda())
    cuda = memory.cuda
    assert isinstance(cuda, FakeCuda)
    engine = FakeEngine(spec, answer=answer, cuda=cuda, half=half)
    return TrtSession(engine, spec=spec, memory=memory, reason=no_reason)
