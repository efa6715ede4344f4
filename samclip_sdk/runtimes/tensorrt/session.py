"""Graphs on NVIDIA GPUs, through TensorRT."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, PromptError, SamClipError
from samclip_sdk.runtimes.buckets import Buckets, join
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import check_feed, check_outputs, check_tensors
from samclip_sdk.runtimes.tensorrt.engine import CompiledEngine, compile_engine, discard_engine
from samclip_sdk.runtimes.tensorrt.memory import DeviceBuffer, DeviceMemory, shared_memory
from samclip_sdk.runtimes.tensorrt.network import (
    PROFILE,
    Profile,
    file_tensor,
    import_tensorrt,
    tensorrt_log,
)
from samclip_sdk.system.progress import OnProgress, no_progress


class EngineRefusedError(BundleError):
    """TensorRT does not take an engine: another GPU or version made it."""


class TrtSession:
    """An engine that is ready to run. A feed with too many rows for one call is split.

    Args:
        engine: an ICudaEngine with one optimisation profile, or none if all its shapes are fixed.
        spec: the graph's contract; the engine must keep it, but may have fp16 in place of fp32.
        memory: shared with the sessions of the same model; it orders their runs.
        reason: returns the reason of TensorRT's last failure.

    Raises:
        BundleError: the engine has other inputs or outputs.
        SamClipError: the GPU's memory does not suffice.
    """

    def __init__(
        self, engine: Any, *, spec: GraphSpec, memory: DeviceMemory, reason: Callable[[], str]
    ) -> None:
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self._dtypes = _check_engine(engine, spec=spec)
        self._minimum, greatest = _axis_limits(engine, inputs=spec.inputs)
        self._buckets = Buckets(spec, lengths=[greatest], where="this engine")
        self._memory, self._reason = memory, reason
        context = engine.create_execution_context()
        self._require(context is not None, doing="reserve the GPU memory of a run")
        self._engine, self._context = engine, context
        memory.attach()

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`.

        Raises:
            PromptError: an axis that cannot be split is too long for the engine, for instance with
                too many points in a prompt; or an axis is too short.
            SamClipError: CUDA or TensorRT failed.
        """
        axes = check_feed(feed, inputs=self.inputs)
        for axis, minimum in self._minimum.items():
            if axes[axis] < minimum:
                raise PromptError(
                    f"{axis} is {axes[axis]}, and this engine takes at least {minimum}; give more"
                )
        with self._memory.lock:
            if self._context is None:
                raise ValueError("the session is closed")
            calls = self._buckets.calls(feed, axes=axes)
            results = join([self._execute(call.feed) for call in calls])
        return check_outputs(results, specs=self.outputs, axes=axes)

    def close(self) -> None:
        """Frees the engine; the memory's last session also frees all memory on the GPU."""
        with self._memory.lock:
            if self._context is None:
                return
            self._context = self._engine = None
            self._memory.detach()

    def _execute(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs one call."""
        memory = self._memory
        taken: list[DeviceBuffer] = []
        try:
            sources = self._bind_inputs(feed, taken=taken)
            targets = self._bind_outputs(taken=taken)
            self._require(self._context.execute_async_v3(memory.stream), doing="run the graph")
            arrays = {
                name: memory.download(buffer, dtype=self._dtypes[name], shape=shape)
                for name, (buffer, shape) in targets.items()
            }
            memory.synchronize()
            del sources  # the upload reads them until here
            return arrays
        finally:
            for buffer in taken:
                memory.give(buffer)

    def _bind_inputs(self, feed: Arrays, *, taken: list[DeviceBuffer]) -> list[NDArray[np.generic]]:
        """Uploads the inputs; returns the arrays that must live until the upload is complete."""
        sources = []
        for spec in self.inputs:
            source = np.ascontiguousarray(feed[spec.name], dtype=self._dtypes[spec.name])
            buffer = self._memory.upload(source)
            sources.append(source)
            taken.append(buffer)
            self._require(
                self._context.set_input_shape(spec.name, source.shape)
                and self._context.set_tensor_address(spec.name, buffer.address),
                doing=f"take {spec.name}{list(source.shape)}",
            )
        return sources

    def _bind_outputs(
        self, *, taken: list[DeviceBuffer]
    ) -> dict[str, tuple[DeviceBuffer, tuple[int, ...]]]:
        """Allocates the outputs; their shapes follow from the inputs' shapes, which must be set."""
        targets = {}
        for spec in self.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            if min(shape) < 1:
                raise BundleError(f"the engine broke its contract: {spec.name} is {list(shape)}")
            buffer = self._memory.take(self._dtypes[spec.name].itemsize * math.prod(shape))
            taken.append(buffer)
            self._require(
                self._context.set_tensor_address(spec.name, buffer.address),
                doing=f"return {spec.name}",
            )
            targets[spec.name] = (buffer, shape)
        return targets

    def _require(self, succeeded: bool, *, doing: str) -> None:
        if not succeeded:
            raise SamClipError(f"TensorRT could not {doing}: {self._reason()}")


def open_trt_session(
    file: GraphFile,
    *,
    spec: GraphSpec,
    memory: DeviceMemory | None = None,
    cache: Path | None = None,
    profile: Profile = PROFILE,
    on_progress: OnProgress = no_progress,
) -> TrtSession:
    """Opens a graph of a bundle on this machine's GPU; builds its engine if the cache has none.

    Args:
        file: the graph's ONNX artifact.
        spec: the graph's contract.
        memory: shared with the other sessions of the model; the process's own if None.
        cache: the folder of engines; `engine.engine_cache()` if None.
        profile: the lengths of the symbolic axes.
        on_progress: called with the progress of a build; see `compile_engine`.

    Raises:
        RuntimeMissingError: TensorRT, cuda-python or an NVIDIA GPU is missing.
        BundleError: TensorRT cannot parse or build the graph, or refuses even a fresh engine.
        VerificationError: the graph breaks a rule of `check_network`.
        StorageError: the cache cannot be written.
    """
    log = tensorrt_log(import_tensorrt())
    shared = shared_memory() if memory is None else memory

    def compile_() -> CompiledEngine:
        return compile_engine(
            file,
            spec=spec,
            gpu=shared.cuda.gpu,
            cache=cache,
            profile=profile,
            on_progress=on_progress,
        )

    engine = load_or_rebuild(compile_, deserialize=deserialize_engine)
    return TrtSession(engine, spec=spec, memory=shared, reason=log.reason)


def load_or_rebuild(
    compile_: Callable[[], CompiledEngine], *, deserialize: Callable[[bytes], Any]
) -> Any:
    """Deserialises an engine; if TensorRT refuses a cached engine, it is built again, once.

    Args:
        compile_: takes the engine from the cache or builds it.
        deserialize: raises EngineRefusedError.

    Returns:
        An ICudaEngine.

    Raises:
        EngineRefusedError: TensorRT refuses an engine that was built just now.
    """
    compiled = compile_()
    try:
        return deserialize(compiled.data)
    except EngineRefusedError:
        if compiled.built:
            raise
    discard_engine(compiled.path)
    return deserialize(compile_().data)


def deserialize_engine(data: bytes) -> Any:
    """Deserialises an ICudaEngine from its bytes.

    Raises:
        RuntimeMissingError: TensorRT is missing.
        EngineRefusedError: TensorRT refuses it, for instance because it is for another GPU.
    """
    trt = import_tensorrt()
    log = tensorrt_log(trt)
    log.messages.clear()
    try:
        engine = trt.Runtime(log).deserialize_cuda_engine(data)
    except Exception as error:  # TensorRT does not document its exceptions
        raise EngineRefusedError(f"TensorRT refuses the engine: {error}") from error
    if engine is None:
        raise EngineRefusedError(f"TensorRT refuses the engine: {log.reason()}")
    return engine


def _check_engine(engine: Any, *, spec: GraphSpec) -> dict[str, np.dtype[Any]]:
    """Checks names, dtypes and axes of an engine; returns its own dtypes."""
    dtypes: dict[str, np.dtype[Any]] = {}
    for mode, specs in (("INPUT", spec.inputs), ("OUTPUT", spec.outputs)):
        names = (engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
        own = [
            file_tensor(
                name,
                dtype=engine.get_tensor_dtype(name).name,
                shape=tuple(engine.get_tensor_shape(name)),
            )
            for name in names
            if engine.get_tensor_mode(name).name == mode
        ]
        check_tensors(own, specs=specs, where="the engine", open_axes=True)
        dtypes |= {tensor.name: np.dtype(tensor.dtype) for tensor in own}
    return dtypes


def _axis_limits(
    engine: Any, *, inputs: Sequence[TensorSpec]
) -> tuple[dict[str, int], dict[str, int]]:
    """Symbolic axis -> the smallest length, and -> the greatest length, that the engine takes."""
    minimum: dict[str, int] = {}
    greatest: dict[str, int] = {}
    for spec in inputs:
        indices = {axis: i for i, axis in enumerate(spec.shape) if isinstance(axis, str)}
        if indices:
            shortest, _, longest = engine.get_tensor_profile_shape(spec.name, 0)
            minimum |= {axis: shortest[i] for axis, i in indices.items()}
            greatest |= {axis: longest[i] for axis, i in indices.items()}
    return minimum, greatest
