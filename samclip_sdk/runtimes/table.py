"""The runtimes, and what is known of each without importing it: one table, which the rest reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def _as_it_is(*precisions: str) -> dict[str, str]:
    return {each: each for each in precisions}


@dataclass(frozen=True)
class Runtime:
    """What is known of a runtime.

    Attributes:
        name: as users say it.
        modules: Python's names of it; one of them must be importable.
        packages: those whose versions may change an answer.
        install: how it is installed, for messages.
        reads: whose files of a bundle it runs, "onnx" or its own; empty if it runs no bundles.
        precisions: that it runs in -> that of the files that it reads for it.
        options: of `RuntimeOptions` that it takes.
        devices: a pattern of the devices that it may be asked for; whether one is there shows when
            it is opened.
        instead: option that it does not take, or device -> what to do, for messages.
        system: the only one that it runs on, as `platform.system` calls it; any if empty.
        elsewhere: what to do on another system, for messages.
        on_gpu: whether it runs on GPUs alone.
        builds: whether a graph takes minutes to open for the first time, which nobody is made to
            wait for who has not asked for it.
    """

    name: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    install: str
    reads: str
    precisions: Mapping[str, str]
    options: tuple[str, ...]
    devices: str = ""
    instead: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    elsewhere: str = ""
    on_gpu: bool = False
    builds: bool = False


_ALL = (
    Runtime(
        name="onnx",
        modules=("onnxruntime",),
        packages=("onnxruntime", "onnxruntime-gpu"),
        install='pip install "samclip-sdk[onnx]"',
        reads="onnx",
        precisions=_as_it_is("fp32", "fp16", "int8"),
        options=("device", "providers", "threads"),
        devices=r"cpu|cuda(:[0-9]+)?",
        instead={
            "device": "it takes cpu, cuda, cuda:1 and so on; all else is one of its providers"
        },
    ),
    Runtime(
        name="openvino",
        modules=("openvino",),
        packages=("openvino",),
        install='pip install "samclip-sdk[openvino]"',
        reads="onnx",
        precisions={"fp32": "fp32", "bf16": "fp32", "int8": "int8"},
        options=("device", "threads"),
        devices=r"cpu",
        instead={"device": "it runs on the CPU here"},
    ),
    Runtime(
        name="coreml",
        modules=("coremltools",),
        packages=("coremltools",),
        install='pip install "samclip-sdk[coreml]"',
        reads="coreml",
        precisions=_as_it_is("fp32", "fp16", "int8", "palette6"),
        options=("compute_units",),
        instead={"device": "name its compute_units"},
        system="Darwin",
        elsewhere="Core ML predicts on a Mac only (and in apps on iPhone and iPad); use "
        '"onnx" here: pip install "samclip-sdk[onnx]"',
    ),
    Runtime(
        name="tensorrt",
        modules=("tensorrt", "tensorrt_rtx"),
        packages=("tensorrt", "tensorrt-rtx-cu13"),
        install="on a Jetson use JetPack's own (6.1 or newer), from a venv made with "
        "--system-site-packages, and never pip-install another one over it; elsewhere: "
        'pip install "samclip-sdk[tensorrt-rtx]"',
        reads="onnx",
        precisions=_as_it_is("fp32", "fp16", "int8"),
        options=("device",),
        devices=r"cuda(:0)?",
        instead={"device": "it runs on cuda, the first GPU that CUDA_VISIBLE_DEVICES shows"},
        on_gpu=True,
        builds=True,
    ),
    Runtime(
        name="torch",
        modules=("torch",),
        packages=("torch",),
        install='pip install "samclip-sdk[torch]"',
        reads="",
        precisions=_as_it_is("fp32"),
        options=("device",),
        devices=r"[a-z]+(:[0-9]+)?",
        instead={"threads": "call torch.set_num_threads"},
    ),
)

RUNTIMES: Mapping[str, Runtime] = {each.name: each for each in _ALL}
"""Name -> runtime."""

OF_BUNDLES = tuple(each.name for each in _ALL if each.reads)
"""Those that run bundles; the others run checkpoints."""

PRECISIONS = tuple(dict.fromkeys(name for each in _ALL for name in each.precisions))
"""Every precision that one of them runs in."""
