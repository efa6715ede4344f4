"""The table of runtimes: the facts about each that are known without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def _as_it_is(*precisions: str) -> dict[str, str]:
    return {each: each for each in precisions}


@dataclass(frozen=True)
class Runtime:
    """The facts about one runtime.

    Attributes:
        name: the name that users give.
        modules: its Python modules; one of them must be importable.
        packages: the packages whose versions may change an answer.
        install: how to install it, for messages.
        reads: the runtime whose files of a bundle it reads, "onnx" or itself; empty if it runs no
            bundles.
        precisions: precision that it runs in -> precision of the files that it reads for it.
        options: the names of the `RuntimeOptions` that it takes.
        devices: a pattern of the devices that may be requested; opening shows whether one exists.
        instead: an option that it does not take, or "device" -> what to do instead, for messages.
        system: the only system that it runs on, as in `platform.system`; any if empty.
        elsewhere: what to do on another system, for messages.
        on_gpu: whether it runs on GPUs only.
        builds: whether opening a graph for the first time takes minutes; then it never happens
            without the user's request.
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
        name="litert",
        modules=("ai_edge_litert",),
        packages=("ai-edge-litert",),
        install='pip install "samclip-sdk[litert]"',
        reads="litert",
        precisions=_as_it_is("fp32", "fp16", "int8"),
        options=("device", "threads"),
        devices=r"cpu",
        instead={
            "device": "it runs on the CPU here; apps give the same .tflite files to a phone's GPU "
            "or NPU by LiteRT's own CompiledModel"
        },
    ),
    Runtime(
        name="executorch",
        modules=("executorch",),
        packages=("executorch",),
        install='pip install "samclip-sdk[executorch]"',
        reads="executorch",
        precisions=_as_it_is("fp32", "int8"),
        options=("device",),
        devices=r"cpu",
        instead={
            "device": "it runs on the CPU here, by XNNPACK, as the same .pte files do on phones",
            "threads": "it has one pool of threads for the process, with one for each core: give "
            "the process fewer cores, with taskset for instance",
        },
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
"""The names of the runtimes that run bundles; the others run checkpoints."""

PRECISIONS = tuple(dict.fromkeys(name for each in _ALL for name in each.precisions))
"""Every precision that any runtime runs in."""
