"""OpenVINO sessions: the contract, the three precisions, and the cache of compiled models."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.bundle.files import GraphFile, file_sha256
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.device.goldens.graph_checks import graph_checks
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import BundleError, RuntimeMissingError
from samclip_sdk.runtimes.artifact_sets import find_set
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.openvino import session as module
from samclip_sdk.runtimes.openvino.runtime import states
from samclip_sdk.runtimes.openvino.session import OpenVINOSession, cache_folder, openvino_core
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import BundleSource
from tests.drawings import TINY_BUNDLE
from tests.runtimes.test_sessions import SPEC, check, feed, write_onnx

HAS_BF16 = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_file(path: Path, **options: Any) -> Session:
    return open_session(
        "openvino", files=[GraphFile(path)], spec=SPEC, options=RuntimeOptions(**options)
    )


def compiled_property(session: OpenVINOSession, name: str) -> Any:
    return session._request.get_compiled_model().get_property(name)


def test_it_takes_the_threads_that_it_is_given(tmp_path: Path) -> None:
    session = open_file(write_onnx(tmp_path / "graph.onnx"), threads=2)
    assert isinstance(session, OpenVINOSession)
    assert compiled_property(session, "INFERENCE_NUM_THREADS") == 2


def test_no_thread_is_bound_to_a_core(tmp_path: Path) -> None:
    """Two workers of `serve`, of one thread each, ran on one core of two."""
    session = open_file(write_onnx(tmp_path / "graph.onnx"), threads=1)
    assert isinstance(session, OpenVINOSession)
    assert not compiled_property(session, "ENABLE_CPU_PINNING")


class TestPrecision:
    def open(self, graph: str, precision: str) -> OpenVINOSession:
        bundle = open_bundle(TINY_BUNDLE)
        (file,) = bundle.graph_files(graph, runtime="onnx")
        return OpenVINOSession(
            replace(file, precision=precision),
            spec=bundle.manifest.graphs[graph],
            options=RuntimeOptions(keep_compiled=False),
        )

    @pytest.mark.parametrize(
        ("graph", "precision", "reduced"),
        [
            ("mask_decoder", "fp32", False),
            ("mask_decoder", "int8", HAS_BF16),
            ("prompt_encoder", "int8", False),
        ],
    )
    def test_what_floats_are_computed_in(self, graph: str, precision: str, reduced: bool) -> None:
        session = self.open(graph, precision)
        hint = compiled_property(session, "INFERENCE_PRECISION_HINT")
        assert hint.get_type_name() == ("bf16" if reduced else "f32")
        assert str(compiled_property(session, "PERFORMANCE_HINT")).endswith("LATENCY")

    def test_fp16_is_not_for_openvino(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="fp32, bf16, int8, not in fp16"):
            self.open("mask_decoder", "fp16")
        with pytest.raises(BundleError, match="openvino fp16; openvino runs it in fp32, bf16"):
            find_set(open_bundle(TINY_BUNDLE), runtime="openvino", precision="fp16")

    def test_a_cpu_without_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "computes_bf16", lambda: False)
        with pytest.raises(RuntimeMissingError, match=r"bf16 on this CPU .*: take fp32 or int8"):
            self.open("mask_decoder", "bf16")
        session = self.open("mask_decoder", "int8")
        hint = compiled_property(session, "INFERENCE_PRECISION_HINT")
        assert hint.get_type_name() == "f32"

    def test_int8_on_arm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its kernels there were off by more than the bounds, where onnxruntime's were not."""
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        with pytest.raises(RuntimeMissingError, match=r"int8 .* Arm CPUs: take fp32, or int8 on"):
            self.open("mask_decoder", "int8")
        assert [each.name for each in states() if not each.loads][-1] == "openvino int8"

    @pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
    def test_keeps_the_goldens(self, precision: str) -> None:
        bundle = open_bundle(TINY_BUNDLE)
        source = BundleSource(
            bundle,
            runtime="openvino",
            precision=precision,
            options=RuntimeOptions(keep_compiled=False),
            warn=False,
        )
        if precision == "bf16" and not HAS_BF16:
            with pytest.raises(RuntimeMissingError, match="bf16"):
                source.session("mask_decoder")
            return
        with closing(Engine(source)) as engine:
            checks = list(graph_checks(bundle, engine=engine, precision=precision))
        assert [check.name for check in checks if not check.passed] == []
        assert len(checks) > 20

    def test_coordinates_are_exact_in_bf16(self) -> None:
        """Of a far corner too: bf16 itself would move it by a whole pixel."""
        bundle = open_bundle(TINY_BUNDLE)
        spec = bundle.manifest.graphs["prompt_encoder"]
        given = {
            each.name: np.zeros(
                [{"num_prompts": 1, "num_points": 2}.get(axis, axis) for axis in each.shape],
                each.dtype,
            )
            for each in spec.inputs
        }
        given["point_coords"][:] = [[[255.25, 254.75], [201.5, 3.25]]]
        given["mask_input"][:] = np.random.default_rng(0).normal(size=given["mask_input"].shape)
        given["has_mask_input"][:] = 1
        (file,) = bundle.graph_files("prompt_encoder", runtime="onnx")
        wanted = open_session("onnx", files=[file], spec=spec).run(given)
        found = self.open("prompt_encoder", "int8").run(given)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, atol=1e-5 * np.abs(array).max())


class CountingCore:
    """OpenVINO, with a count of what it compiled."""

    def __init__(self) -> None:
        self.core = openvino_core()
        self.compiled = 0

    def compile_model(self, *arguments: Any) -> Any:
        self.compiled += 1
        return self.core.compile_model(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


class TestCache:
    @pytest.fixture
    def core(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountingCore:
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: tmp_path / "cache")
        core = CountingCore()
        monkeypatch.setattr(module, "openvino_core", lambda: core)
        return core

    def open(self, tmp_path: Path, **changes: Any) -> None:
        path = tmp_path / "graph.onnx"
        if not path.exists():
            write_onnx(path)
        file = replace(GraphFile(path, sha256=file_sha256(path)), **changes)
        check(OpenVINOSession(file, spec=SPEC), feed())

    def test_compiles_once(self, tmp_path: Path, core: CountingCore) -> None:
        for _ in range(3):
            self.open(tmp_path)
        assert core.compiled == 1
        (kept,) = cache_folder().iterdir()
        assert json.loads(kept.read_bytes().partition(b"\n")[0])["precision_hint"] == "f32"

    @pytest.mark.parametrize("changes", [{"sha256": "f" * 64}, {"weights_sha256": ("a" * 64,)}])
    def test_another_file_is_compiled(
        self, tmp_path: Path, core: CountingCore, changes: dict[str, Any]
    ) -> None:
        self.open(tmp_path)
        self.open(tmp_path, **changes)
        assert core.compiled == 2

    def test_a_kept_model_that_openvino_refuses_is_compiled_again(
        self, tmp_path: Path, core: CountingCore
    ) -> None:
        """Whole and fitting, as far as its header tells; after an update of a driver, say."""
        self.open(tmp_path)
        (kept,) = cache_folder().iterdir()
        header, junk = json.loads(kept.read_bytes().partition(b"\n")[0]), b"of another build"
        header["content_sha256"] = hashlib.sha256(junk).hexdigest()
        kept.write_bytes(json.dumps(header, sort_keys=True).encode() + b"\n" + junk)
        for _ in range(2):
            self.open(tmp_path)
            assert core.compiled == 2

    def test_a_cache_that_cannot_be_written_costs_time_only(
        self, tmp_path: Path, core: CountingCore
    ) -> None:
        (tmp_path / "cache").write_bytes(b"")
        for _ in range(2):
            self.open(tmp_path)
        assert core.compiled == 2

    def test_keeps_nothing_that_it_should_not(self, tmp_path: Path, core: CountingCore) -> None:
        path = write_onnx(tmp_path / "graph.onnx")
        open_file(path)  # its sha256 is not known
        file = GraphFile(path, sha256=file_sha256(path))
        OpenVINOSession(file, spec=SPEC, options=RuntimeOptions(keep_compiled=False))
        assert core.compiled == 2
        assert not cache_folder().exists()
