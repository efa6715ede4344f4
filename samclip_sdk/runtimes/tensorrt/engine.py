"""TensorRT engines: built on the device from the bundle's ONNX files, and kept in a cache.

An engine fits one GPU and one version of TensorRT, so bundles contain none. It is built if the
cache has no complete engine that fits. A new version of TensorRT replaces the engines of the old
one.

Two processes never build the same engine: the second waits for the first and uses its engine. Each
engine appears by an atomic rename.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from filelock import BaseFileLock, FileLock, Timeout

from samclip_sdk.bundle.files import GraphFile, file_sha256
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, StorageError
from samclip_sdk.runtimes.tensorrt.cuda import Gpu, current_gpu
from samclip_sdk.runtimes.tensorrt.network import (
    PROFILE,
    Profile,
    aim_at,
    axis_lengths,
    builder_config,
    import_tensorrt,
    parse_network,
    tensorrt_log,
)
from samclip_sdk.runtimes.tensorrt.progress import PERCENT, progress_monitor
from samclip_sdk.system.keyed_file import KeyedFile
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.user_folders import user_cache

WAITING = "waiting for another process that builds it"

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_Event: TypeAlias = "tuple[str, int, int] | None"


@dataclass(frozen=True)
class CompiledEngine:
    """An engine in the cache.

    Attributes:
        path: the path of its file, which has a header and the engine.
        data: the serialised engine.
        built: whether it was built just now.
    """

    path: Path
    data: bytes
    built: bool


def engine_cache() -> Path:
    """The folder of cached engines."""
    return user_cache("tensorrt")


def describe_tensorrt() -> str:
    """The TensorRT version and the GPU that sessions would use, as a short text.

    Raises:
        RuntimeMissingError: TensorRT, cuda-python or an NVIDIA GPU is missing.
    """
    trt = import_tensorrt()
    gpu = current_gpu()
    return f"{trt.__name__} {trt.__version__} on {gpu.name} ({gpu.compute_capability})"


def compile_engine(
    file: GraphFile,
    *,
    spec: GraphSpec,
    gpu: Gpu,
    cache: Path | None = None,
    profile: Profile = PROFILE,
    on_progress: OnProgress = no_progress,
) -> CompiledEngine:
    """Takes a graph's engine from the cache, or builds it in seconds to minutes and stores it.

    Args:
        file: the graph's ONNX artifact.
        spec: the graph's contract.
        gpu: the GPU that the engine is for.
        cache: the folder; `engine_cache()` if None.
        profile: the lengths of the symbolic axes.
        on_progress: called in this thread with the phase of the build, and how much of it is done,
            of 100. If it raises, or an exception such as Ctrl-C interrupts this thread, the build
            is cancelled.

    Raises:
        RuntimeMissingError: TensorRT is missing or does not support the GPU.
        BundleError: TensorRT cannot parse or build the graph.
        VerificationError: the graph breaks a rule of `check_network`.
        StorageError: the cache cannot be written.
        ValueError: the graph has an axis that the profile does not have.
    """
    kept = _kept_engine(file, spec=spec, gpu=gpu, cache=cache, profile=profile)
    data = kept.read()
    if data is not None:
        return CompiledEngine(kept.path, data=data, built=False)
    with _locked(kept.path, on_progress=on_progress):
        data = kept.read()  # another process may have built it meanwhile
        if data is not None:
            return CompiledEngine(kept.path, data=data, built=False)
        data = build_engine(file.path, spec=spec, gpu=gpu, profile=profile, on_progress=on_progress)
        try:
            kept.write(data)
        except StorageError as error:
            raise _unwritable(kept.path.parent, reason=str(error)) from error
        return CompiledEngine(kept.path, data=data, built=True)


def is_compiled(
    file: GraphFile,
    *,
    spec: GraphSpec,
    gpu: Gpu,
    cache: Path | None = None,
    profile: Profile = PROFILE,
) -> bool:
    """Whether `compile_engine`, with the same arguments, would take the engine from the cache.

    Raises:
        RuntimeMissingError: TensorRT is missing.
        ValueError: the graph has an axis that the profile does not have.
    """
    kept = _kept_engine(file, spec=spec, gpu=gpu, cache=cache, profile=profile)
    return kept.read() is not None


def discard_engine(path: Path) -> None:
    """Removes an engine from the cache.

    Raises:
        StorageError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path.parent, reason=error.strerror or str(error)) from error


def build_engine(
    path: Path,
    *,
    spec: GraphSpec,
    gpu: Gpu,
    profile: Profile = PROFILE,
    on_progress: OnProgress = no_progress,
) -> bytes:
    """Builds an engine; the arguments and errors are those of `compile_engine`.

    Returns:
        The serialised engine.
    """
    trt = import_tensorrt()
    parsed = parse_network(path, spec=spec, trt=trt)
    config = builder_config(parsed, spec=spec, profile=profile, trt=trt)
    aim_at(config, gpu=gpu, trt=trt)
    log = tensorrt_log(trt)
    log.messages.clear()
    events: SimpleQueue[_Event] = SimpleQueue()
    cancelled = threading.Event()

    def tell(phase: str, percent: int) -> None:
        events.put((f"building the engine of {path.stem}: {phase}", percent, PERCENT))

    monitor = progress_monitor(trt, tell=tell, cancelled=cancelled.is_set)
    config.progress_monitor = monitor

    def work() -> Any:
        return parsed.builder.build_serialized_network(parsed.network, config)

    built = _watch(work, events=events, cancelled=cancelled, on_progress=on_progress)
    if built is None:
        raise BundleError(f"TensorRT {trt.__version__} cannot build {path}: {log.reason()}")
    return bytes(built)


def _watch(
    work: Callable[[], Any],
    *,
    events: SimpleQueue[_Event],
    cancelled: threading.Event,
    on_progress: OnProgress,
) -> Any:
    """Runs the build in its own thread, so that this thread can be interrupted meanwhile.

    An exception in a callback, such as Ctrl-C, would pass through TensorRT's own frames. TensorRT
    does not promise to survive that.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tensorrt-build") as pool:
        try:
            future = pool.submit(work)
            future.add_done_callback(lambda _: events.put(None))
            while (event := events.get()) is not None:
                on_progress(*event)
        except BaseException:
            cancelled.set()
            raise
    return future.result()


def _kept_engine(
    file: GraphFile, *, spec: GraphSpec, gpu: Gpu, cache: Path | None, profile: Profile
) -> KeyedFile:
    """The place of an engine in the cache."""
    trt = import_tensorrt()
    key = {
        "onnx_sha256": file.sha256 or file_sha256(file.path),
        "weights_sha256": file.weights_sha256,
        "precision": file.precision,
        "axes": axis_lengths(spec, profile=profile),
        "gpu": asdict(gpu),
        "flavour": trt.__name__,
        "version": trt.__version__,
    }
    return KeyedFile(cache or engine_cache(), name=f"{file.path.stem}.engine", key=key)


@contextmanager
def _locked(path: Path, *, on_progress: OnProgress) -> Iterator[None]:
    """Keeps other processes from building the same engine; makes the cache's folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, on_progress=on_progress)
    except OSError as error:
        raise _unwritable(path.parent, reason=error.strerror or str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, *, on_progress: OnProgress) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_progress(WAITING, 0, 1)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        # On a drive without locks two processes may build the same engine, which only costs time.
        if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
            raise


def _unwritable(folder: Path, *, reason: str) -> StorageError:
    return StorageError(
        f"the cache of TensorRT engines {folder} cannot be written ({reason}): free space there or "
        "make it writable, or set XDG_CACHE_HOME to a folder that is"
    )
