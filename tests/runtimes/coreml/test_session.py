"""The Core ML session in the interpreter, and the Mac's loader on a stand-in of Core ML."""

from __future__ import annotations

import shutil
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.coreml.mil_interpreter import MilInterpreter
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.errors import BundleError, StorageError
from samclip_sdk.runtimes.coreml import loader
from samclip_sdk.runtimes.coreml.package import ProgramTensor, import_coremltools
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from tests.coreml_packages import error, graphs, open_session, package
from tests.refusals import refused


class Halves:
    """A program whose tensors are fp16, as Core ML may give them."""

    def __init__(self, shape: tuple[int, ...] = (1, 77)) -> None:
        self.inputs = (ProgramTensor("input_ids", dtype="int32", shape=shape),)
        self.outputs = (ProgramTensor("text_embeddings", dtype="float16", shape=(1, 16)),)
        self.load_times = loader.LoadTimes(cold=True, load_ms=2.0, prewarm_ms=1.0)

    def predict(self, feed: dict[str, Any]) -> Mapping[str, NDArray[np.generic]]:
        return {"text_embeddings": np.full((1, 16), 0.1, dtype=np.float16)}

    def placement(self) -> tuple[loader.Placement, ...]:
        return (loader.Placement("text", operation="a", kind="linear", device="CPU"),)


class TestContract:
    spec = property(lambda self: graphs()["text_encoder"].contract())

    def open(self, program: Any, **axes: int) -> CoreMLSession:
        path = Path("text.mlpackage") / "Manifest.json"
        file = GraphFile(path, axes=axes or {"num_texts": 1})
        return CoreMLSession([file], spec=self.spec, load=lambda *_: program)

    def test_gives_the_contracts_dtypes(self) -> None:
        session = self.open(Halves())
        found = session.run({"input_ids": np.zeros((2, 77), dtype=np.int32)})
        assert found["text_embeddings"].dtype == np.float32
        assert found["text_embeddings"].shape == (2, 16)
        assert session.load_times == loader.LoadTimes(cold=True, load_ms=2.0, prewarm_ms=1.0)
        assert session.placement()[0].device == "CPU"

    def test_refuses_other_tensors_and_axes(self) -> None:
        refused(lambda: self.open(Halves(shape=(1, 78))), BundleError, "input_ids")
        refused(lambda: self.open(Halves(), rows=1), BundleError, "text.mlpackage", "rows")

    def test_whatever_core_ml_raises(self) -> None:
        def load(path: Path, units: str) -> Any:
            raise RuntimeError("Error in declaring network.\nmore")

        file = GraphFile(Path("text.mlpackage") / "Manifest.json", axes={"num_texts": 1})
        refused(
            lambda: CoreMLSession([file], spec=self.spec, load=load),
            BundleError,
            "text.mlpackage",
            "Error in declaring network",
        )


class Mac:
    """What the loader uses of coremltools and of the system, on a computer of any kind.

    A compiled model is a copy of the package; the interpreter predicts.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.version = "15.2"
        self.compiled: list[str] = []
        self.fails: list[Exception] = []
        real = import_coremltools()
        fake = types.SimpleNamespace(
            __version__=real.__version__,
            ComputeUnit=real.ComputeUnit,
            utils=real.utils,
            proto=real.proto,
            models=types.SimpleNamespace(
                CompiledMLModel=self.open,
                utils=types.SimpleNamespace(compile_model=self.compile_model),
                compute_plan=types.SimpleNamespace(
                    MLComputePlan=types.SimpleNamespace(load_from_path=self.plan)
                ),
            ),
        )
        for module in ("loader", "package"):
            monkeypatch.setattr(
                f"samclip_sdk.runtimes.coreml.{module}.import_coremltools", lambda: fake
            )
        mac = types.SimpleNamespace(
            system=lambda: "Darwin", mac_ver=lambda: (self.version, ("", "", ""), "")
        )
        monkeypatch.setattr(loader, "platform", mac)
        monkeypatch.setattr(loader, "cache_folder", lambda: cache)

    def compile_model(self, package: str, target: str) -> str:
        if self.fails:
            raise self.fails.pop()
        self.compiled.append(package)
        assert target.endswith(".mlmodelc")
        shutil.copytree(package, target)
        return target

    def open(self, path: str, *, compute_units: Any) -> MilInterpreter:
        if not (Path(path) / "Manifest.json").is_file():
            raise RuntimeError("not a compiled model")
        self.units = compute_units
        return MilInterpreter(Path(path))

    def plan(self, path: str, *, compute_units: Any) -> Any:
        class MLNeuralEngineComputeDevice:
            pass

        named = types.SimpleNamespace(name="x")
        operations = [
            types.SimpleNamespace(operator_name=kind, outputs=[named])
            for kind in ("const", "linear")
        ]
        usage = types.SimpleNamespace(preferred_compute_device=MLNeuralEngineComputeDevice())
        block = types.SimpleNamespace(block=types.SimpleNamespace(operations=operations))
        program = types.SimpleNamespace(functions={"main": block})
        return types.SimpleNamespace(
            model_structure=types.SimpleNamespace(program=program),
            get_compute_device_usage_for_mlprogram_operation=lambda each: (
                None if each.operator_name == "const" else usage
            ),
        )


class TestMac:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        return tmp_path / "cache" / "coreml"

    @pytest.fixture
    def mac(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Mac:
        self.spec = graphs()["text_encoder"].contract()
        self.files = [
            GraphFile(
                package("text_encoder", bucket=bucket, precision="fp32", weights="as_is")
                / "Manifest.json",
                axes={"num_texts": texts},
            )
            for bucket, texts in enumerate((1, 8))
        ]
        # What the interpreter imports is the real one, and was imported before.
        open_session("text_encoder")
        return Mac(monkeypatch, cache)

    def open(self, **options: str) -> CoreMLSession:
        return CoreMLSession(self.files, spec=self.spec, **options)

    def test_compiles_once(self, mac: Mac, cache: Path) -> None:
        cold = self.open(compute_units="cpu_and_ne")
        assert mac.units.name == "CPU_AND_NE"
        assert cold.load_times.cold
        assert min(cold.load_times.load_ms, cold.load_times.prewarm_ms) > 0
        assert len(mac.compiled) == 2
        warm = self.open()
        assert not warm.load_times.cold
        assert len(mac.compiled) == 2
        assert len(list(cache.iterdir())) == 2
        ids = np.random.default_rng(0).integers(1, 49408, (9, 77)).astype(np.int32)
        expected = graphs()["text_encoder"].reference({"input_ids": ids})
        for session in (cold, warm):
            assert error(session.run({"input_ids": ids}), expected=expected) < 1e-5

    def test_another_system_compiles_anew(self, mac: Mac) -> None:
        self.open()
        mac.version = "26.0"
        assert self.open().load_times.cold

    @pytest.mark.parametrize(
        ("raised", "error", "word"),
        [
            (OSError(28, "No space left on device"), StorageError, "No space left"),
            (RuntimeError("compiler error: unknown opset\nmore"), BundleError, "unknown opset"),
        ],
    )
    def test_what_cannot_be_compiled_leaves_nothing(
        self, mac: Mac, cache: Path, raised: Exception, error: type[Exception], word: str
    ) -> None:
        mac.fails = [raised]
        refused(self.open, error, word)
        assert not list(cache.iterdir())

    def test_placement(self, mac: Mac) -> None:
        placed = self.open().placement()
        assert [(each.kind, each.device) for each in placed] == [("linear", "NeuralEngine")] * 2
