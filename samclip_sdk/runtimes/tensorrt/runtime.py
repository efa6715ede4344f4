"""TensorRT as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.tensorrt.engine import describe_tensorrt
from samclip_sdk.runtimes.tensorrt.session import TrtSession, open_trt_session
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Refuses a machine without TensorRT or a GPU."""
    describe_tensorrt()


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> TrtSession:
    """Opens the one file of a graph; builds its engine if the cache has none."""
    return open_trt_session(files[0], spec=spec, on_progress=options.on_progress)


def states() -> Sequence[RuntimeState]:
    """Looks for TensorRT and a GPU."""
    try:
        return [RuntimeState(name="tensorrt", version=describe_tensorrt())]
    except RuntimeMissingError as error:
        version = package_version("tensorrt") or package_version("tensorrt-rtx-cu13")
        return [RuntimeState(name="tensorrt", version=version, reason=str(error))]
