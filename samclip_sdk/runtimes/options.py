"""The options of runtimes, and the check of which runtime takes which."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from samclip_sdk.errors import OptionError
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.system.progress import OnProgress, no_progress

COMPUTE_UNITS = ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")
"""The compute units that Core ML may use."""

MAX_THREADS = 1024


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _are_names(values: object) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(value, str) and value for value in values
    )


def _thread_count(threads: object) -> int:
    try:
        count = -1 if isinstance(threads, bool) else operator.index(threads)  # type: ignore[arg-type]  # any other raises
    except TypeError:
        count = -1
    if not 0 <= count <= MAX_THREADS:
        raise OptionError(
            f"threads is {threads!r}; give a whole number from 0, the runtime's own choice, to "
            f"{MAX_THREADS}"
        )
    return count


@dataclass(frozen=True)
class RuntimeOptions:
    """The options of a runtime.

    Attributes:
        device: "cpu", "cuda", "cuda:1" and so on, or torch's "mps"; None leaves the choice to the
            runtime, which takes the CPU if it can.
        providers: onnxruntime's execution providers, the preferred one first; the CPU if empty.
        compute_units: Core ML's compute units, one of `COMPUTE_UNITS`.
        threads: the threads of onnxruntime, OpenVINO or LiteRT for a graph; if 0 their own choice,
            and one for each core on LiteRT.
        keep_compiled: whether OpenVINO stores the compiled graph on the disk for the next load.
        on_progress: called with a message, the parts done and the number of parts of a long step:
            building a TensorRT engine, or trying the candidates of "auto".

    Raises:
        OptionError: an option has a value that no runtime takes.
    """

    device: str | None = None
    providers: Sequence[str] = ()
    compute_units: str = "all"
    threads: int = 0
    keep_compiled: bool = True
    on_progress: OnProgress = no_progress

    def __post_init__(self) -> None:
        if self.device is not None and not _matches(r"[a-z]+(:[0-9]+)?", self.device):
            raise OptionError(f'device is {self.device!r}; give "cpu", "cuda", "cuda:1" or "mps"')
        # A string is a sequence of letters too, but never a list of providers.
        if isinstance(self.providers, str) or not _are_names(self.providers):
            raise OptionError(
                f"providers is {self.providers!r}; give a list of names, such as "
                '["CUDAExecutionProvider"]'
            )
        object.__setattr__(self, "providers", tuple(self.providers))
        if self.device is not None and self.providers:
            raise OptionError(
                f"device is {self.device!r} and providers is {self.providers}; give one of the two"
            )
        if self.compute_units not in COMPUTE_UNITS:
            raise OptionError(
                f"there are no compute units {self.compute_units!r}; known are "
                f"{', '.join(COMPUTE_UNITS)}"
            )
        object.__setattr__(self, "threads", _thread_count(self.threads))

    def given(self) -> tuple[str, ...]:
        """The names of the options that differ from their default and must fit the runtime."""
        names = ("device", "providers", "compute_units", "threads")
        return tuple(
            name for name in names if getattr(self, name) != getattr(DEFAULT_OPTIONS, name)
        )


DEFAULT_OPTIONS = RuntimeOptions()


def check_options(runtime: str, *, options: RuntimeOptions) -> None:
    """Refuses options that a runtime does not take.

    Raises:
        OptionError: the message names the option and what to do instead.
    """
    refused = why_refused(runtime, options=options)
    if refused:
        raise OptionError(refused)


def why_refused(runtime: str, *, options: RuntimeOptions) -> str:
    """The reason why a runtime does not take these options; empty if it takes them."""
    known = RUNTIMES[runtime]
    for name in options.given():
        value = getattr(options, name)
        if name in known.options and (name != "device" or _matches(known.devices, value)):
            continue
        way_out = known.instead.get(name, f"it takes {', '.join(known.options)}")
        shown = f"{name}={value!r}"
        return f"{runtime} does not take {shown}: {way_out}"
    return ""


def device_index(device: str) -> int:
    """The number in a device's name: 1 for "cuda:1"; 0 if there is no number."""
    return int(device.partition(":")[2] or 0)
