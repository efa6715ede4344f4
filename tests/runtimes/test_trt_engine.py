"""TensorRT engines, parsed, checked and built by TensorRT for RTX for a GPU that need not be here.

That an engine is built says nothing of what it computes; that takes a GPU, see `test_trt.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch.export import ExportedProgram

from export.calibration import find_layers
from export.external_weights import WeightFiles, halve_weights
from export.graphs import Graph, build_graphs
from export.mixed_precision import contract_operations, halve
from export.program import export_program
from export.quantize import insert_pairs
from export.source import find_source
from export.to_onnx import to_onnx
from samclip_sdk.bundle import open_bundle
from samclip_sdk.errors import BundleError, RuntimeMissingError, StorageError, VerificationError
from samclip_sdk.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.runtimes import GraphFile
from samclip_sdk.runtimes.trt_cuda import Gpu
from samclip_sdk.runtimes.trt_engine import (
    WAITING,
    CompiledEngine,
    build_engine,
    compile_engine,
    describe_tensorrt,
    engine_cache,
    is_compiled,
)
from samclip_sdk.runtimes.trt_network import (
    PROFILE,
    check_network,
    import_tensorrt,
    parse_network,
    tensorrt_log,
)
from tests.runtimes.test_sessions import SPEC, write_onnx

GPU = Gpu(name="NVIDIA Pretend 4090", compute_capability="8.9")
ROWS = {"rows": (1, 4, 16)}
TINY = open_bundle("samclip-tiny")
# Every ONNX artifact of the embedded bundle, of whichever precisions it has.
ARTIFACTS = [
    (graph, artifact.precision)
    for graph, spec in TINY.manifest.graphs.items()
    for artifact in spec.artifacts
    if artifact.runtime == "onnx"
]
ROOT = Path(__file__).parents[2]

Nodes = Sequence[onnx.NodeProto]
Tensors = Sequence[onnx.TensorProto]


def write_graph(
    path: Path,
    nodes: Nodes,
    *,
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, tuple[int, list[int | str] | None]],
    initializers: Tensors = (),
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, *each) for name, each in outputs.items()],
        list(initializers),
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def spec_of(x: tuple[int | str, ...], y: tuple[int | str, ...], *, dtype: Any = "float32") -> Any:
    """A graph x -> y."""
    return GraphSpec(
        inputs=(TensorSpec(name="x", dtype=dtype, shape=x),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=y),),
    )


@pytest.fixture(scope="module", params=["training/checkpoints/tiny/stage3", "random:vit_b"])
def programs(request: pytest.FixtureRequest) -> list[tuple[Graph, ExportedProgram]]:
    """The graphs of both presets as the exporters start from them."""
    model = find_source(request.param).model
    sizes = {model.config.segmentation_resolution, model.config.classification_resolution}
    return [
        (
            graph,
            export_program(
                graph.module, example=graph.example(), dynamic_axes=graph.dynamic_axes()
            ),
        )
        for graph in build_graphs(model, resolutions=sorted(sizes))
    ]


def convert(program: ExportedProgram, *, graph: Graph, precision: str) -> ir.Model:
    """As a bundle's, with no more fp32 than the contract asks for, and all that can be in int8."""
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    model = to_onnx(program, inputs=graph.inputs, outputs=graph.outputs)
    if precision == "int8":
        names = [layer.name for layer in find_layers(model)]
        model = insert_pairs(model, layers=names, ranges=dict.fromkeys(names, 8.0))
    if precision != "fp16":
        halve_weights(model)
    return model


class TestBuild:
    @pytest.mark.parametrize(("graph", "precision"), ARTIFACTS)
    def test_every_graph_of_the_tiny_bundle(self, graph: str, precision: str) -> None:
        """Their weights are external, stored in fp16 and cast."""
        (file,) = TINY.graph_files(graph, runtime="onnx", precision=precision)
        engine = build_engine(file.path, spec=TINY.manifest.graphs[graph], gpu=GPU)
        assert len(engine) > 100_000

    @pytest.mark.parametrize("capability", ["7.5", "12.0"])
    def test_for_other_gpus(self, tmp_path: Path, capability: str) -> None:
        path = write_onnx(tmp_path / "graph.onnx")
        gpu = Gpu("another", capability)
        assert build_engine(path, spec=SPEC, gpu=gpu, profile=ROWS)

    @pytest.mark.parametrize("capability", ["8.7", "5.0"])
    def test_a_gpu_that_tensorrt_rtx_does_not_know(self, tmp_path: Path, capability: str) -> None:
        path = write_onnx(tmp_path / "graph.onnx")
        gpu = Gpu("Orin", capability)
        with pytest.raises(RuntimeMissingError, match=r"SM89.*of Orin: use NVIDIA's classic"):
            build_engine(path, spec=SPEC, gpu=gpu, profile=ROWS)

    def test_an_axis_that_no_profile_knows(self, tmp_path: Path) -> None:
        path = write_onnx(tmp_path / "graph.onnx")
        with pytest.raises(ValueError, match="no lengths for rows"):
            build_engine(path, spec=SPEC, gpu=GPU, profile=PROFILE)

    def test_typed_fp16(self, tmp_path: Path) -> None:
        """fp16 products, LayerNorm in fp32 between casts, fp16 inputs and outputs."""
        rng = np.random.default_rng(0)
        half, full = TensorProto.FLOAT16, TensorProto.FLOAT
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Cast", ["product"], ["wide"], to=full),
            helper.make_node("LayerNormalization", ["wide", "scale", "bias"], ["normal"], axis=-1),
            helper.make_node("Cast", ["normal"], ["narrow"], to=half),
            helper.make_node("Softmax", ["narrow"], ["y"], axis=-1),
        ]
        weights = [
            numpy_helper.from_array(rng.normal(size=(8, 16)).astype(np.float16), "w"),
            numpy_helper.from_array(np.ones(16, np.float32), "scale"),
            numpy_helper.from_array(np.zeros(16, np.float32), "bias"),
        ]
        path = write_graph(
            tmp_path / "half.onnx",
            nodes,
            inputs={"x": (half, ["num_texts", 8])},
            outputs={"y": (half, ["num_texts", 16])},
            initializers=weights,
        )
        spec = spec_of(("num_texts", 8), ("num_texts", 16))
        assert build_engine(path, spec=spec, gpu=GPU)

    def test_int8_of_quantize_and_dequantize(self, tmp_path: Path) -> None:
        """Symmetric int8, weights by channel, bias in fp32."""
        path = write_qdq(tmp_path / "int8.onnx", dtype=np.int8)
        spec = spec_of(("num_texts", 16), ("num_texts", 32))
        assert build_engine(path, spec=spec, gpu=GPU)

    def test_refuses_unsigned_int8(self, tmp_path: Path) -> None:
        """The default of onnxruntime's quantizer."""
        path = write_qdq(tmp_path / "uint8.onnx", dtype=np.uint8)
        spec = spec_of(("num_texts", 16), ("num_texts", 32))
        with pytest.raises(BundleError, match=r"TensorRT .* cannot (parse|build) .*uint8\.onnx: "):
            build_engine(path, spec=spec, gpu=GPU)

    def test_through_what_classic_tensorrt_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The names alone: classic TensorRT does not run on every machine that tests this."""
        import tensorrt_rtx

        classic = ModuleType("tensorrt")
        for name in (
            *("Builder", "OnnxParser", "ILogger", "IProgressMonitor", "Runtime"),
            *("NetworkDefinitionCreationFlag", "BuilderFlag"),
        ):
            setattr(classic, name, getattr(tensorrt_rtx, name))
        classic.__dict__["__version__"] = "10.3.0"
        monkeypatch.setitem(sys.modules, "tensorrt", classic)
        assert import_tensorrt() is classic
        compiled = compile_in(tmp_path)
        header = json.loads(compiled.path.read_bytes().partition(b"\n")[0])
        assert (header["key"]["flavour"], header["key"]["version"]) == ("tensorrt", "10.3.0")

    @pytest.mark.parametrize("content", [None, b"", b"not a graph"])
    def test_a_damaged_file(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "graph.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises((BundleError, VerificationError), match=r"graph\.onnx") as caught:
            build_engine(path, spec=SPEC, gpu=GPU, profile=ROWS)
        assert "\n" not in str(caught.value)

    def test_weights_that_are_missing(self, tmp_path: Path) -> None:
        (file,) = TINY.graph_files("text_encoder", runtime="onnx", precision=ARTIFACTS[0][1])
        path = tmp_path / "text_encoder.onnx"
        path.write_bytes(file.path.read_bytes())
        with pytest.raises(BundleError, match="cannot parse"):
            build_engine(path, spec=TINY.manifest.graphs["text_encoder"], gpu=GPU)

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_every_graph_of_both_presets(
        self,
        programs: list[tuple[Graph, ExportedProgram]],
        tmp_path: Path,
        precision: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for graph, program in programs:
            model = convert(program, graph=graph, precision=precision)
            path = tmp_path / f"{graph.name}.onnx"
            with WeightFiles(tmp_path, part=graph.name) as store:
                store.add(model, name=path.name, precision=precision)
                weights = store.write()[path.name]
            start = time.process_time()
            engine = build_engine(path, spec=graph.contract(), gpu=GPU)
            cpu_s = time.process_time() - start
            with capsys.disabled():
                print(f"\n{graph.name} {precision}: {cpu_s:.1f} CPU s, {len(engine):,} bytes")
            assert len(engine) > 100_000
            # Gigabytes, and pytest keeps the last three runs.
            for written in (path, *(tmp_path / name for name in weights)):
                written.unlink()


def write_qdq(path: Path, *, dtype: type[np.signedinteger[Any] | np.unsignedinteger[Any]]) -> Path:
    """A linear layer whose operands are quantized, [n,16] to [n,32]."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 127, size=(16, 32)).astype(dtype)
    initializers = [
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(dtype(0), "zero"),
        numpy_helper.from_array(weights, "w8"),
        numpy_helper.from_array(np.full(32, 0.01, np.float32), "w_scale"),
        numpy_helper.from_array(np.zeros(32, dtype), "w_zero"),
        numpy_helper.from_array(np.ones(32, np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["x32"]),
        helper.make_node("DequantizeLinear", ["w8", "w_scale", "w_zero"], ["w32"], axis=1),
        helper.make_node("MatMul", ["x32", "w32"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    return write_graph(
        path,
        nodes,
        inputs={"x": (TensorProto.FLOAT, ["num_texts", 16])},
        outputs={"y": (TensorProto.FLOAT, ["num_texts", 32])},
        initializers=initializers,
    )


class TestCheck:
    """What TensorRT would build, or has parsed, and we refuse."""

    def parse(self, path: Path, *, spec: GraphSpec) -> None:
        parse_network(path, spec=spec, trt=import_tensorrt())

    def test_one_hot(self, tmp_path: Path) -> None:
        path = write_graph(
            tmp_path / "graph.onnx",
            [helper.make_node("OneHot", ["x", "depth", "values"], ["y"], name="labels/OneHot")],
            inputs={"x": (TensorProto.INT32, ["num_texts"])},
            outputs={"y": (TensorProto.FLOAT, ["num_texts", 5])},
            initializers=[
                numpy_helper.from_array(np.array(5, dtype=np.int64), "depth"),
                numpy_helper.from_array(np.array([0, 1], dtype=np.float32), "values"),
            ],
        )
        spec = spec_of(("num_texts",), ("num_texts", 5), dtype="int32")
        with pytest.raises(VerificationError, match=r"labels/OneHot is a ONE_HOT"):
            self.parse(path, spec=spec)

    def test_non_zero(self) -> None:
        """Made by hand: TensorRT for RTX parses no NonZero, the classic one does."""
        trt = import_tensorrt()
        builder = trt.Builder(tensorrt_log(trt))
        network = builder.create_network(1)
        x = network.add_input("x", trt.DataType.FLOAT, (3, 4))
        layer = network.add_non_zero(x, trt.DataType.INT64)
        layer.name = "where/NonZero"
        network.mark_output(layer.get_output(0))
        spec = spec_of((3, 4), (2, "n"))
        with pytest.raises(VerificationError, match="where/NonZero is a NON_ZERO"):
            check_network(network, spec=spec, name="graph.onnx")

    def test_a_non_zero_that_is_not_even_parsed(self, tmp_path: Path) -> None:
        path = write_graph(
            tmp_path / "graph.onnx",
            [helper.make_node("NonZero", ["x"], ["y"], name="where/NonZero")],
            inputs={"x": (TensorProto.FLOAT, [3, 4])},
            outputs={"y": (TensorProto.INT64, [2, "n"])},
        )
        with pytest.raises(BundleError, match=r"cannot parse .*where/NonZero"):
            self.parse(path, spec=spec_of((3, 4), (2, "n")))

    def test_an_input_that_is_a_shape(self, tmp_path: Path) -> None:
        """As `orig_im_size` of SAM's own export."""
        path = write_graph(
            tmp_path / "graph.onnx",
            [
                helper.make_node("Cast", ["size"], ["wide"], to=TensorProto.INT64, name="widen"),
                helper.make_node("Expand", ["x", "wide"], ["y"], name="expand"),
            ],
            inputs={"x": (TensorProto.FLOAT, [1, 4]), "size": (TensorProto.INT32, [2])},
            outputs={"y": (TensorProto.FLOAT, ["height", "width"])},
        )
        spec = GraphSpec(
            inputs=(
                TensorSpec(name="x", dtype="float32", shape=(1, 4)),
                TensorSpec(name="size", dtype="int32", shape=(2,)),
            ),
            outputs=(TensorSpec(name="y", dtype="float32", shape=("height", "width")),),
        )
        with pytest.raises(VerificationError, match=r"the input size of the layer .*widen"):
            self.parse(path, spec=spec)

    def test_int64_ids(self, tmp_path: Path) -> None:
        path = write_graph(
            tmp_path / "graph.onnx",
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
            inputs={"x": (TensorProto.INT64, ["num_texts", 7])},
            outputs={"y": (TensorProto.FLOAT, ["num_texts", 7])},
        )
        spec = spec_of(("num_texts", 7), ("num_texts", 7), dtype="int32")
        with pytest.raises(
            VerificationError, match=r"x is int64\[-1, 7\], the contract says int32"
        ):
            self.parse(path, spec=spec)

    def test_other_tensors_than_the_contract(self, tmp_path: Path) -> None:
        for path, message in (
            (write_onnx(tmp_path / "a.onnx", width=4), r"left is float32\[-1, 4\]"),
            (write_onnx(tmp_path / "b.onnx", rows=2), r"left is float32\[2, 3\]"),
            (write_onnx(tmp_path / "c.onnx", count_name="number"), "'number'"),
        ):
            with pytest.raises(VerificationError, match=message):
                self.parse(path, spec=SPEC)


class TestImport:
    def test_the_classic_one_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        classic = ModuleType("tensorrt")
        classic.__dict__["__version__"] = "10.3.0"
        monkeypatch.setitem(sys.modules, "tensorrt", classic)
        assert import_tensorrt() is classic

    def test_one_that_is_too_old_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """JetPack 6.0 has 8.6."""
        old = ModuleType("tensorrt")
        old.__dict__["__version__"] = "8.6.2"
        monkeypatch.setitem(sys.modules, "tensorrt", old)
        assert import_tensorrt().__name__ == "tensorrt_rtx"
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        with pytest.raises(RuntimeMissingError, match=r"8\.6\.2 is older than 10.*JetPack"):
            import_tensorrt()

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        with pytest.raises(RuntimeMissingError) as caught:
            import_tensorrt()
        for part in ("JetPack's own", "--system-site-packages", "never pip-install"):
            assert part in str(caught.value)
        assert 'pip install "samclip-sdk[tensorrt-rtx]"' in str(caught.value)

    @pytest.mark.gpu
    def test_describes_itself(self) -> None:
        assert "tensorrt" in describe_tensorrt()


def compile_in(
    folder: Path,
    *,
    weights_sha256: tuple[str, ...] = (),
    gpu: Gpu = GPU,
    profile: dict[str, tuple[int, int, int]] | None = None,
    onnx_sha256: str = "",
) -> CompiledEngine:
    path = folder / "graph.onnx"
    if not path.exists():
        write_onnx(path)
    return compile_engine(
        GraphFile(path, sha256=onnx_sha256, weights_sha256=weights_sha256),
        spec=SPEC,
        gpu=gpu,
        cache=folder / "cache" / "engines",
        profile=profile or ROWS,
    )


class TestCache:
    def test_builds_once(self, tmp_path: Path) -> None:
        first, second = compile_in(tmp_path), compile_in(tmp_path)
        assert (first.built, second.built) == (True, False)
        assert (first.path, first.data) == (second.path, second.data)
        assert first.path.name.startswith("graph-")

    def test_tells_whether_it_is_compiled(self, tmp_path: Path) -> None:
        file = GraphFile(write_onnx(tmp_path / "graph.onnx"))
        cache = tmp_path / "cache" / "engines"

        def compiled(gpu: Gpu) -> bool:
            return is_compiled(file, spec=SPEC, gpu=gpu, cache=cache, profile=ROWS)

        assert not compiled(GPU)
        compile_in(tmp_path)
        assert compiled(GPU)
        assert not compiled(Gpu(name="another", compute_capability="9.0"))

    def test_anything_else_is_another_engine(self, tmp_path: Path) -> None:
        compile_in(tmp_path)
        for other in (
            {"gpu": Gpu("NVIDIA Pretend 4080", "8.9")},
            {"gpu": Gpu(GPU.name, "8.6")},
            {"profile": {"rows": (1, 4, 8)}},
            {"weights_sha256": ("0" * 64,)},
            {"weights_sha256": ("1" * 64,)},
            {"onnx_sha256": "2" * 64},
        ):
            assert compile_in(tmp_path, **other).built
        engines = list((tmp_path / "cache" / "engines").glob("*.engine"))
        assert len(engines) == 7
        assert not compile_in(tmp_path).built

    def test_another_version_of_tensorrt_takes_the_place(self, tmp_path: Path) -> None:
        path = compile_in(tmp_path).path
        header, _, data = path.read_bytes().partition(b"\n")
        version = json.loads(header)["key"]["version"]
        path.write_bytes(header.replace(version.encode(), b"1.0.0") + b"\n" + data)
        again = compile_in(tmp_path)
        assert (again.built, again.path) == (True, path)
        assert not compile_in(tmp_path).built

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "header", "list", "folder"])
    def test_a_damaged_engine_is_built_again(self, tmp_path: Path, damage: str) -> None:
        first = compile_in(tmp_path)
        content = first.path.read_bytes()
        damaged = {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "header": b"\xff" + content,
            "list": b"[]\n" + content,
        }
        first.path.unlink()
        if damage == "folder":
            first.path.mkdir()
            with pytest.raises(StorageError, match="engines cannot be written"):
                compile_in(tmp_path)
            return
        first.path.write_bytes(damaged[damage])
        again = compile_in(tmp_path)
        assert again.built
        assert not compile_in(tmp_path).built
        assert not list(again.path.parent.glob(".*"))

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file where the folder should be")
        with pytest.raises(StorageError, match=rf"{tmp_path}.*set XDG_CACHE_HOME"):
            compile_in(tmp_path)

    def test_a_cache_that_can_only_be_read(self, tmp_path: Path) -> None:
        """A device whose image was made with its engines in it: no lock is taken."""
        first = compile_in(tmp_path)
        lock = first.path.with_suffix(".lock")
        lock.unlink()
        lock.mkdir()
        assert not compile_in(tmp_path).built

    def test_lies_in_the_users_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert engine_cache().name == "tensorrt"
        path = write_onnx(tmp_path / "graph.onnx")
        compiled = compile_engine(GraphFile(path), spec=SPEC, gpu=GPU, profile=ROWS)
        assert compiled.path.parent == engine_cache()

    def test_a_graph_that_is_refused_leaves_nothing(self, tmp_path: Path) -> None:
        write_onnx(tmp_path / "graph.onnx", width=4)
        with pytest.raises(VerificationError):
            compile_in(tmp_path)
        assert not list((tmp_path / "cache" / "engines").glob("*.engine"))

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no locks there: both build")
    def test_two_processes_build_one_engine(self, tmp_path: Path) -> None:
        """Both wait for this one, which holds the lock; then one builds and the other takes it."""
        import fcntl

        path = compile_in(tmp_path).path
        path.unlink()
        program = f"""
from pathlib import Path
from samclip_sdk.graph_spec import GraphSpec
from samclip_sdk.runtimes.base import GraphFile
from samclip_sdk.runtimes.trt_cuda import Gpu
from samclip_sdk.runtimes.trt_engine import compile_engine

compiled = compile_engine(
    GraphFile(Path({str(tmp_path / "graph.onnx")!r})),
    spec=GraphSpec.model_validate_json({SPEC.model_dump_json()!r}),
    gpu={GPU!r},
    cache=Path({str(path.parent)!r}),
    profile={ROWS!r},
    on_progress=lambda phase, step, steps: print(phase, flush=True),
)
print("built" if compiled.built else "taken")
"""
        with path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", program],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == WAITING
        answers = [process.communicate(timeout=60)[0].split()[-1] for process in processes]
        assert sorted(answers) == ["built", "taken"]
        assert not compile_in(tmp_path).built


class TestProgress:
    def test_tells_every_phase(self, tmp_path: Path) -> None:
        events: list[tuple[str, int, int]] = []
        threads = set()

        def note(phase: str, step: int, steps: int) -> None:
            threads.add(threading.current_thread())
            events.append((phase, step, steps))

        path = write_onnx(tmp_path / "graph.onnx")
        build_engine(path, spec=SPEC, gpu=GPU, profile=ROWS, on_progress=note)
        phases = {phase for phase, _, _ in events}
        assert "Building engine" in phases
        assert all(0 <= step <= steps for _, step, steps in events)
        assert all((phase, 0) in {each[:2] for each in events} for phase in phases)
        # TensorRT's own thread never runs the caller's code.
        assert threads == {threading.main_thread()}

    def test_ctrl_c_cancels_the_build(self, tmp_path: Path) -> None:
        """As a terminal sends it, while this thread waits for the builder's."""
        (file,) = TINY.graph_files("image_encoder@256", runtime="onnx")
        steps: list[float] = []
        interrupters: list[threading.Thread] = []

        def interrupt_once(phase: str, step: int, count: int) -> None:
            steps.append(time.perf_counter())
            if not interrupters:
                thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
                interrupters.append(thread)
                thread.start()

        with pytest.raises(KeyboardInterrupt):
            compile_engine(
                file,
                spec=TINY.manifest.graphs["image_encoder@256"],
                gpu=GPU,
                cache=tmp_path,
                on_progress=interrupt_once,
            )
        interrupters[0].join()
        assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}
        assert "tensorrt-build" not in {each.name[:14] for each in threading.enumerate()}
        compile_in(tmp_path)  # TensorRT is none the worse for it

    def test_what_the_callback_raises_cancels_the_build(self, tmp_path: Path) -> None:
        path = write_onnx(tmp_path / "graph.onnx")

        def fail(phase: str, step: int, steps: int) -> None:
            raise RuntimeError("the window was closed")

        with pytest.raises(RuntimeError, match="the window was closed"):
            build_engine(path, spec=SPEC, gpu=GPU, profile=ROWS, on_progress=fail)


def test_tensorrt_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError):
        build_engine(tmp_path / "graph.onnx", spec=SPEC, gpu=GPU, profile=ROWS)
    assert capfd.readouterr() == ("", "")
