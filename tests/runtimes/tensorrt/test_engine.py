"""TensorRT engines, parsed, checked and built by TensorRT for RTX for a GPU that need not be here.

That an engine is built says nothing of what it computes: for that see `test_on_gpu.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import onnx_ir as ir
import pytest
from torch.export import ExportedProgram

from export.external_weights import WeightFiles, halve_weights
from export.graphs import Graph
from export.precision.activation_ranges import find_layers
from export.precision.mixed_precision import contract_operations, halve
from export.precision.quantized_layers import insert_pairs
from export.to_onnx import to_onnx
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import CompiledEngine, build_engine, compile_engine
from samclip_sdk.runtimes.tensorrt.network import import_tensorrt
from tests.drawings import TINY_BUNDLE
from tests.export.tiny_programs import full_size_graphs, full_size_program
from tests.runtimes.test_sessions import SPEC, write_onnx

GPU = Gpu(name="NVIDIA Pretend 4090", compute_capability="8.9")
ROWS = {"rows": (1, 4, 16)}
TINY = open_bundle(TINY_BUNDLE)
# Every ONNX artifact of the trained bundle, of whichever precisions it has.
ARTIFACTS = [
    (graph, artifact.precision)
    for graph, spec in TINY.manifest.graphs.items()
    for artifact in spec.artifacts
    if artifact.runtime == "onnx" and not graph.startswith("letterbox@")
]
# Every kind of graph; of the encoder and the head, which two resolutions have, at one of them.
QUICK = [each for each in ARTIFACTS if each[1] == "int8" and not each[0].endswith("@128")]


def convert(program: ExportedProgram, *, graph: Graph, precision: str) -> ir.Model:
    """As a bundle's, with no more fp32 than the contract asks for, and all that can be in int8."""
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    model = to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs)
    if precision == "int8":
        names = [layer.name for layer in find_layers(model)]
        model = insert_pairs(model, layers=names, ranges=dict.fromkeys(names, 8.0))
    if precision != "fp16":
        halve_weights(model)
    return model


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


class TestBuild:
    @pytest.mark.parametrize(
        ("graph", "precision"),
        [
            pytest.param(*each, marks=() if each in QUICK else pytest.mark.slow)
            for each in ARTIFACTS
        ],
    )
    def test_every_graph_of_the_tiny_bundle(self, graph: str, precision: str) -> None:
        """Their weights are external, stored in fp16 and cast; what int8 leaves is in fp32."""
        (file,) = TINY.graph_files(graph, runtime="onnx", precision=precision)
        engine = build_engine(file.path, spec=TINY.manifest.graphs[graph], gpu=GPU)
        assert len(engine) > 100_000

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_weights_in_bytes(self, precision: str) -> None:
        """Of the embedded bundle: TensorRT folds what turns them back into numbers."""
        bundle = open_bundle(DEFAULT_MODEL)
        (file,) = bundle.graph_files("text_encoder", runtime="onnx", precision=precision)
        stored = sum(
            path.stat().st_size for path in file.path.parent.glob("text_encoder.*.weights")
        )
        engine = build_engine(file.path, spec=bundle.manifest.graphs["text_encoder"], gpu=GPU)
        assert len(engine) > 2 * stored

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
        assert (header["flavour"], header["version"]) == ("tensorrt", "10.3.0")

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_every_graph_at_full_size(self, tmp_path: Path, precision: str) -> None:
        for graph in full_size_graphs().values():
            program = full_size_program(graph.name)
            model = convert(program, graph=graph, precision=precision)
            path = tmp_path / f"{graph.name}.onnx"
            with WeightFiles(tmp_path, part=graph.name) as store:
                store.add(model, name=path.name, precision=precision)
                weights = store.write()[path.name]
            assert len(build_engine(path, spec=graph.contract(), gpu=GPU)) > 100_000
            # Gigabytes, and pytest keeps the last three runs.
            for written in (path, *(tmp_path / name for name in weights)):
                written.unlink()


class TestProgress:
    def test_tells_how_much_is_done(self, tmp_path: Path) -> None:
        events: list[tuple[str, int, int]] = []
        threads = set()

        def note(message: str, done: int, total: int) -> None:
            threads.add(threading.current_thread())
            events.append((message, done, total))

        path = write_onnx(tmp_path / "graph.onnx")
        build_engine(path, spec=SPEC, gpu=GPU, profile=ROWS, on_progress=note)
        assert events[0] == ("building the engine of graph: Building engine", 0, 100)
        assert events[-1] == ("building the engine of graph: Building engine", 100, 100)
        percents = [done for _, done, _ in events]
        assert percents == sorted(percents)
        assert len(set(percents)) > 5
        assert len({message for message, _, _ in events}) > 3
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
