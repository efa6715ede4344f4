"""What no runtime takes, and what one does not: refused in one line that names the value."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from export.coreml.mil_interpreter import MilInterpreter
from samclip_sdk import BundleError, RuntimeMissingError, SamClip
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import BundleTamperedError, OptionError, PromptError, StorageError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.runtimes.availability import check_runtime
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from samclip_sdk.runtimes.executorch.program import import_executorch, seal
from samclip_sdk.runtimes.litert.interpreter import import_interpreter
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.openvino.session import openvino_core
from samclip_sdk.runtimes.options import MAX_THREADS, RuntimeOptions
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.runtimes.tensorrt.cuda import import_cudart
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.network import PROFILE, import_tensorrt
from samclip_sdk.runtimes.tensorrt.session import TrtSession
from samclip_sdk.runtimes.torch.session import Checkpoint
from tests.drawings import TINY_BUNDLE
from tests.example_bundle import CONFIG, contents, manifest, write_files
from tests.executorch_files import STORED, needs_executorch
from tests.litert_files import write_arithmetic
from tests.refusals import refused
from tests.runtimes.tensorrt.fake_tensorrt import GPU, FakeCuda, FakeEngine, fake_session, no_reason
from tests.runtimes.test_sessions import (
    SPEC,
    arithmetic_packages,
    expected,
    feed,
    open_executorch_file,
    open_litert_file,
    write_onnx,
)

CUDA_PROVIDER = "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("threads", (-1, 1.5, "2", None, True, MAX_THREADS + 1, 10**30)),
        ("providers", ("CPU", None, 3, [(CUDA_PROVIDER, {})], [None], [""])),
        ("device", ("", "GPU", "cuda:", "cuda:x", "cuda:-1", "cuda:١", 0, b"cpu")),
        ("compute_units", ("gpu", "", None, "ALL")),
    ],
)
def test_an_option_that_no_runtime_could_take(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        wrong: dict[str, Any] = {name: value}
        refused(
            lambda wrong=wrong: RuntimeOptions(**wrong), OptionError, name.replace("_", " ")[:7]
        )
    both = {"device": "cuda", "providers": [CUDA_PROVIDER]}
    refused(lambda: RuntimeOptions(**both), OptionError, "device", "providers")


@pytest.mark.parametrize(
    ("runtime", "options", "error", "named"),
    [
        ("openvino", {"providers": ["CPUExecutionProvider"]}, OptionError, "providers="),
        ("onnx", {"compute_units": "cpu_only"}, OptionError, "compute_units='cpu_only'"),
        ("torch", {"threads": 2}, OptionError, "torch.set_num_threads"),
        ("onnx", {"device": "mps"}, OptionError, "device='mps'"),
        ("auto", {"threads": -1}, OptionError, "threads is -1"),
        (
            "tpu",
            {},
            RuntimeMissingError,
            "auto, onnx, openvino, coreml, tensorrt, litert, executorch, torch",
        ),
        ("litert", {"device": "gpu"}, OptionError, "CompiledModel"),
        ("litert", {"device": "npu"}, OptionError, "CompiledModel"),
        pytest.param(
            *("executorch", {"device": "gpu"}, OptionError, "XNNPACK"), marks=needs_executorch
        ),
        pytest.param(
            *("executorch", {"threads": 2}, OptionError, "taskset"), marks=needs_executorch
        ),
        ("onnx", {}, BundleError, "is a checkpoint"),
        ("auto", {"precision": "int8"}, BundleError, "int8"),
    ],
)
def test_what_cannot_be_loaded(
    tmp_path: Path, runtime: str, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    """A folder that looks like a checkpoint: nothing of it is read."""
    write_files(tmp_path, {"model.safetensors": b"", "config.json": b"{}"})
    refused(lambda: SamClip.load(runtime, model=tmp_path, **options), error, named)


@pytest.mark.parametrize(
    ("change", "options", "error", "named"),
    [
        ({}, {"precision": "fp16"}, BundleError, "fp16"),
        ({}, {"device": "cuda"}, RuntimeMissingError, "samclip-sdk[onnx-gpu]"),
        ({}, {"providers": ["NoSuchProvider"]}, RuntimeMissingError, "NoSuchProvider"),
        ({"onnx/mask_decoder.onnx": b"changed"}, {}, BundleTamperedError, "mask_decoder.onnx"),
        ({"onnx/image_encoder.weights": b"cut"}, {}, BundleTamperedError, "encoder.weights"),
    ],
)
def test_a_bundle_that_cannot_be_loaded(
    tmp_path: Path,
    change: dict[str, bytes],
    options: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    """On loading, not at the first inference."""
    write_files(tmp_path, contents() | change)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest()))
    refused(lambda: SamClip.load("onnx", model=tmp_path, **options), error, named)


def load_onnx(path: Path, spec: GraphSpec) -> object:
    return open_session("onnx", files=[GraphFile(path)], spec=spec)


def load_openvino(path: Path, spec: GraphSpec) -> object:
    return open_session("openvino", files=[GraphFile(path)], spec=spec)


def build_in_tensorrt(path: Path, spec: GraphSpec) -> object:
    profile = {**PROFILE, "rows": (1, 4, 16)}
    return build_engine(path, spec=spec, gpu=GPU, profile=profile)


Load = Callable[[Path, GraphSpec], object]
readers_of_onnx = pytest.mark.parametrize("load", [load_onnx, load_openvino, build_in_tensorrt])


@readers_of_onnx
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 4}, "left"),
        ({"rows": 2}, "left"),
        ({"count_name": "number"}, "number"),
    ],
)
def test_a_file_that_breaks_the_contract(
    tmp_path: Path, load: Load, change: dict[str, Any], named: str
) -> None:
    path = write_onnx(tmp_path / "graph.onnx", **change)
    refused(lambda: load(path, SPEC), BundleError, named)


@pytest.mark.parametrize("load", [load_onnx, load_openvino])
def test_a_file_in_fp64(tmp_path: Path, load: Load) -> None:
    path = write_onnx(tmp_path / "graph.onnx", float_type=TensorProto.DOUBLE)
    refused(lambda: load(path, SPEC), BundleError, "left")


@readers_of_onnx
@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
def test_a_damaged_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], load: Load, content: bytes | None
) -> None:
    path = tmp_path / "graph.onnx"
    if content is not None:
        path.write_bytes(content)
    refused(lambda: load(path, SPEC), BundleError, "graph.onnx")
    assert load is load_openvino or capfd.readouterr() == ("", "")


@readers_of_onnx
def test_a_file_without_its_weights(tmp_path: Path, load: Load) -> None:
    bundle = open_bundle(TINY_BUNDLE)
    (file,) = bundle.graph_files("prompt_encoder", runtime="onnx", precision="int8")
    path = tmp_path / file.path.name
    path.write_bytes(file.path.read_bytes())
    refused(lambda: load(path, bundle.manifest.graphs["prompt_encoder"]), BundleError, path.name)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 4}, "left"),
        ({"count_name": "number"}, "number"),
        ({"count_type": "uint8"}, "count is uint8"),
        ({"signed": False}, "graph.tflite has no signature"),
    ],
)
def test_a_litert_file_that_breaks_the_contract(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = write_arithmetic(tmp_path / "graph.tflite", **change)
    refused(lambda: open_litert_file(path), BundleError, named)


@pytest.mark.parametrize(
    "content",
    [None, b"not a graph", bytes(1000), *(slice(end) for end in (0, 4, 8, 100, -1))],
)
def test_a_litert_file_that_is_cut_or_foreign(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | slice | None
) -> None:
    path = tmp_path / "graph.tflite"
    if isinstance(content, slice):
        content = write_arithmetic(path).read_bytes()[content]
    if content is not None:
        path.write_bytes(content)
    refused(lambda: open_litert_file(path), BundleError, "graph.tflite")
    assert capfd.readouterr() == ("", "")


@needs_executorch
@pytest.mark.parametrize(
    "change",
    [{"name": "third"}, {"dtype": "uint8"}, {"shape": ("rows", 4)}, {"shape": ("rows", 3, 1)}],
)
def test_an_executorch_file_that_breaks_the_contract(change: dict[str, Any]) -> None:
    left, right, count = SPEC.inputs
    other = SPEC.model_copy(update={"inputs": (left.model_copy(update=change), right, count)})
    named = str(change.get("name", "left"))
    refused(lambda: open_executorch_file(STORED, spec=other), BundleError, named)


@needs_executorch
@pytest.mark.parametrize(
    "change",
    [
        lambda whole: None,
        lambda whole: b"",
        lambda whole: b"not a graph",
        lambda whole: bytes(1000),
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda whole: whole[:-50],
        lambda whole: whole[:200] + b"\0\0\0\0" + whole[204:],
        lambda whole: seal(b""),  # sealed, and no program
        lambda whole: seal(bytes(1000)),
    ],
)
def test_an_executorch_file_that_is_cut_changed_or_foreign(
    tmp_path: Path, change: Callable[[bytes], bytes | None]
) -> None:
    """ExecuTorch itself ends the process at some of these."""
    path, content = tmp_path / "graph.pte", change(STORED.read_bytes())
    if content is not None:
        path.write_bytes(content)
    refused(lambda: open_executorch_file(path), BundleError, "graph.pte")


@pytest.mark.parametrize("change", [{"name": "third"}, {"dtype": "int32"}, {"shape": (2, 3)}])
def test_an_engine_that_breaks_the_contract(change: dict[str, Any]) -> None:
    left, right, count = SPEC.inputs
    other = SPEC.model_copy(update={"inputs": (left, right.model_copy(update=change), count)})
    cuda = FakeCuda()
    engine = FakeEngine(other, answer=expected, cuda=cuda)
    memory = DeviceMemory(cuda)
    refused(lambda: TrtSession(engine, spec=SPEC, memory=memory, reason=no_reason), BundleError)


def open_coreml(**options: Any) -> CoreMLSession:
    return CoreMLSession(arithmetic_packages(), spec=SPEC, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    found = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(build_model(CONFIG, seed=3), found, provenance={"random_weights": True})
    return found


@pytest.mark.parametrize("graph", ["depth_head", "image_encoder", "image_encoder@50", "clip@x"])
def test_a_graph_that_is_not_there(folder: Path, graph: str) -> None:
    refused(lambda: Checkpoint(folder).session(graph), BundleError, graph)


def test_a_checkpoint_that_cannot_be_loaded(folder: Path, tmp_path: Path) -> None:
    refused(lambda: Checkpoint(tmp_path), BundleError, "model.safetensors")
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "calibration.json").write_text("{}")
    refused(lambda: Checkpoint(tmp_path), BundleError, tmp_path)


@pytest.mark.parametrize(
    ("missing", "call", "named"),
    [
        (["onnxruntime"], lambda path: load_onnx(path, SPEC), "[onnx]"),
        (["openvino"], lambda path: load_openvino(path, SPEC), "[openvino]"),
        (["executorch.runtime"], lambda path: open_executorch_file(path), "[executorch]"),
        (["ai_edge_litert.interpreter"], lambda path: open_litert_file(path), "[litert]"),
        (["coremltools"], lambda _: open_coreml(load=MilInterpreter.load), "[coreml]"),
        (["safetensors"], lambda path: Checkpoint(path.parent), "[torch]"),
        (["cuda.bindings.runtime", "cuda.cudart"], lambda _: import_cudart(), "[tensorrt]"),
        (["tensorrt", "tensorrt_rtx"], lambda _: import_tensorrt(), "[tensorrt-rtx]"),
        (["tensorrt", "tensorrt_rtx"], lambda _: import_tensorrt(), "JetPack's own"),
    ],
)
def test_a_package_that_is_not_installed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: list[str],
    call: Callable[[Path], object],
    named: str,
) -> None:
    path = write_onnx(folder / "graph.onnx")
    arithmetic_packages()
    openvino_core.cache_clear()
    import_interpreter.cache_clear()
    import_executorch.cache_clear()
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    refused(lambda: call(path), RuntimeMissingError, named)


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: open_session("abacus", files=[], spec=SPEC), RuntimeMissingError, "abacus"),
        (lambda: check_runtime("abacus"), RuntimeMissingError, "abacus"),
        (lambda: check_runtime("torch"), RuntimeMissingError, "torch"),
        (lambda: SamClip.load("tpu"), BundleError, "tpu"),
        *(
            (
                partial(SamClip.load, name),
                BundleError,
                f'{name} is neither a runtime nor a model (did you mean "onnx"?)',
            )
            for name in ("ONNX", "onnxruntime", "onxx")
        ),
        (lambda: SamClip.load("pytorch", model="x"), RuntimeMissingError, 'did you mean "torch"?'),
        (lambda: SamClip.load("SamClip-mobil"), BundleError, 'did you mean "samclip-mobile"?'),
        (lambda: SamClip.load("torch"), BundleError, "training/checkpoints/mobile/refinement"),
        (SamClip, OptionError, 'SamClip.load("onnx")'),
        (lambda: SamClip("onnx"), OptionError, 'SamClip.load("onnx")'),
        (lambda: SamClip.load(compute_units="cpu_only"), RuntimeMissingError, "compute_units"),
        (lambda: fake_session(SPEC, answer=expected).run(feed(0)), PromptError, "rows is 0"),
        (
            lambda: write_sign_off(Path("/dev/null/report.json"), report="{}"),
            StorageError,
            "/dev/null",
        ),
    ],
)
def test_a_call(call: Callable[[], object], error: type[Exception], named: str) -> None:
    refused(call, error, named)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML predicts here")
def test_core_ml_elsewhere_than_on_a_mac() -> None:
    for call in (open_coreml, lambda: SamClip.load("coreml")):
        refused(call, RuntimeMissingError, "Mac", "samclip-sdk[onnx]")
