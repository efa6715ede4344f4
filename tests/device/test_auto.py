"""What "auto" takes: measured once, remembered while it fits, never what breaks its bounds."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import GOLDEN_INDEX
from samclip_sdk.bundle.open import DEFAULT_MODEL, Bundle, open_bundle
from samclip_sdk.device import auto as selection
from samclip_sdk.device.auto import choose_again, find_candidates, remembered, select
from samclip_sdk.device.auto_records import AUTO, ENOUGH, Ratio, Selection, Trial
from samclip_sdk.errors import BundleError, RuntimeMissingError, SamClipWarning, VerificationError
from samclip_sdk.runtimes.artifact_sets import RuntimeSet
from samclip_sdk.runtimes.options import RuntimeOptions
from tests.command import answer, table
from tests.drawings import TINY_BUNDLE
from tests.example_bundle import change_files, contents, manifest, onnx_file, stored, write_files
from tests.own_process import run_program
from tests.refusals import refused

DEFAULT = RuntimeOptions()
TIMES = {"onnx fp32": 30.0, "openvino fp32": 20.0, "openvino bf16": 15.0, "onnx int8": 10.0}
FIRST = 30.0
"""The time of the first candidate, which the others take turns with."""


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing remembered, compiled or installed but onnxruntime and OpenVINO."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path / "data")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: tmp_path / "cache")
    install(monkeypatch, "onnxruntime", "openvino")
    return tmp_path / "data"


def install(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in modules or None)


def write_bundle(folder: Path, *kinds: tuple[str, str], goldens: bool = True) -> Bundle:
    """A bundle that lists artifacts of these runtimes and precisions; nothing runs them."""
    files, content = contents(), manifest()
    for name, graph in content["graphs"].items():
        (first,) = graph["artifacts"]
        graph["artifacts"] = []
        for runtime, precision in kinds:
            path = f"{runtime}/{precision}/{name}.onnx"
            files[path] = onnx_file(path)
            graph["artifacts"].append(
                {
                    **first,
                    **stored(path, files[path]),
                    "runtime": runtime,
                    "precision": precision,
                    "weights": [],
                }
            )
    if goldens:
        files[GOLDEN_INDEX] = b"{}"
        content["files"].append(stored(GOLDEN_INDEX, files[GOLDEN_INDEX]))
    write_files(folder, files)
    (folder / "manifest.json").write_text(json.dumps(content))
    return open_bundle(folder)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", *ONNX)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for the trials; holds which candidates were tried, each time."""
    calls: list[list[str]] = []

    def try_candidates(
        bundle: Bundle, *, candidates: Sequence[RuntimeSet], options: RuntimeOptions
    ) -> tuple[Trial, ...]:
        calls.append([str(each) for each in candidates])
        return tuple(
            Trial(
                runtime=each.runtime,
                precision=each.precision,
                refused="" if str(each) in TIMES else "it is out",
                median_ms=TIMES.get(str(each)),
                ratio=spread(TIMES[str(each)] / FIRST) if str(each) in TIMES else None,
            )
            for each in candidates
        )

    monkeypatch.setattr(selection, "try_candidates", try_candidates)
    return calls


def spread(median: float, *, share: float = 0.02) -> Ratio:
    return Ratio(median=median, low=(1 - share) * median, high=(1 + share) * median)


def candidates(bundle: Bundle, runtime: str = AUTO, precision: str | None = None) -> list[str]:
    found = find_candidates(bundle, runtime=runtime, precision=precision, options=DEFAULT)
    return [str(each) for each in found]


def chosen(bundle: Bundle, **options: Any) -> str:
    asked: dict[str, Any] = {"runtime": AUTO, "precision": None, "options": DEFAULT}
    return str(select(bundle, **asked | options)[0])


ONNX = (("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"))
MAC = (("coreml", "fp16"), ("onnx", "fp16"))
BOTH, CORE_ML = ("onnxruntime", "openvino"), ("onnxruntime", "coremltools")


class TestCandidates:
    @pytest.mark.parametrize(
        ("kinds", "installed", "system", "asked", "found"),
        [
            (ONNX, BOTH, "Linux", {}, "onnx fp32, openvino fp32"),
            # The precision stays unless it is to vary.
            (
                *(ONNX, BOTH, "Linux", {"precision": AUTO}),
                "onnx fp32, openvino fp32, openvino bf16, onnx fp16, onnx int8, openvino int8",
            ),
            (ONNX, BOTH, "Linux", {"precision": "fp16"}, "onnx fp16"),
            (ONNX, BOTH, "Linux", {"precision": "bf16"}, "openvino bf16"),
            (
                *(ONNX, BOTH, "Linux", {"runtime": "openvino", "precision": AUTO}),
                "openvino fp32, openvino bf16, openvino int8",
            ),
            (ONNX, ("openvino",), "Linux", {}, "openvino fp32"),
            (MAC, CORE_ML, "Linux", {}, "onnx fp16"),
            (MAC, CORE_ML, "Darwin", {}, "coreml fp16, onnx fp16"),
            # The first precision that runs here.
            ((("coreml", "fp16"), ("onnx", "int8")), BOTH, "Linux", {}, "onnx int8, openvino int8"),
        ],
    )
    def test_what_can_run_here(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        kinds: tuple[tuple[str, str], ...],
        installed: tuple[str, ...],
        system: str,
        asked: dict[str, str],
        found: str,
    ) -> None:
        install(monkeypatch, *installed)
        monkeypatch.setattr("platform.system", lambda: system)
        bundle = write_bundle(tmp_path / "bundle", *kinds)
        assert ", ".join(candidates(bundle, **asked)) == found

    def test_what_cannot_run_is_refused(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused(lambda: candidates(bundle, precision="palette6"), BundleError, "palette6")
        install(monkeypatch, "coremltools")
        install_it = ('pip install "samclip-sdk[onnx]"', "openvino")
        refused(lambda: candidates(bundle), RuntimeMissingError, *install_it)

    def test_execution_providers_are_onnxruntimes(self, bundle: Bundle) -> None:
        options = RuntimeOptions(providers=("CUDAExecutionProvider",))
        found = find_candidates(bundle, runtime=AUTO, precision=None, options=options)
        assert [str(each) for each in found] == ["onnx fp32"]

    def test_tensorrt_only_once_engines_are_compiled(
        self, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(monkeypatch, "onnxruntime", "tensorrt")
        assert candidates(bundle) == ["onnx fp32"]
        write_files(tmp_path / "cache" / "tensorrt", {"a.engine": b""})
        assert candidates(bundle) == ["onnx fp32", "tensorrt fp32"]


class TestChoice:
    def test_one_candidate_is_taken_as_it_is(self, bundle: Bundle, tried: list[Any]) -> None:
        asked = {"runtime": AUTO, "precision": "fp16", "options": DEFAULT}
        assert select(bundle, **asked)[1] is False
        assert chosen(bundle, precision="fp16") == "onnx fp16"
        assert not tried

    def test_without_goldens_nothing_can_be_compared(
        self, tmp_path: Path, tried: list[Any]
    ) -> None:
        bare = write_bundle(tmp_path / "bare", ("onnx", "fp32"), goldens=False)
        assert chosen(bare) == "onnx fp32"
        assert not tried
        again = partial(choose_again, bare, runtime=AUTO, precision=None, options=DEFAULT)
        refused(again, BundleError, "no golden")

    def test_the_fastest_is_taken_and_remembered(
        self, bundle: Bundle, tried: list[list[str]], data_folder: Path
    ) -> None:
        for _ in range(3):
            assert chosen(bundle) == "openvino fp32"
        assert tried == [["onnx fp32", "openvino fp32"]]
        (kept,) = (data_folder / "selected").iterdir()
        content = Selection.model_validate_json(kept.read_bytes())
        assert [each.median_ms for each in content.trials] == [30.0, 20.0]
        assert chosen(bundle, precision=AUTO) == "onnx int8"
        known = remembered(bundle, runtime=AUTO, precision=AUTO, options=DEFAULT)
        assert known is not None
        out = {each.name: each.refused for each in known.trials if each.refused}
        assert out == {"onnx fp16": "it is out", "openvino int8": "it is out"}

    @pytest.mark.parametrize(
        "change",
        [
            lambda patch: patch.setattr(selection, "installed_versions", lambda: {"numpy": "9"}),
            lambda patch: patch.setattr(selection, "cpu_name", lambda: "another"),
            lambda patch: patch.setattr(selection, "usable_cores", lambda: 0.5),
            lambda patch: install(patch, "onnxruntime", "openvino", "tensorrt"),
        ],
        ids=["versions", "processor", "cores", "candidates"],
    )
    def test_a_change_of_the_device_makes_it_try_again(
        self,
        bundle: Bundle,
        tried: list[Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: Callable[[pytest.MonkeyPatch], None],
    ) -> None:
        write_files(tmp_path / "cache" / "tensorrt", {"a.engine": b""})
        chosen(bundle)
        with monkeypatch.context() as patch:
            change(patch)
            chosen(bundle)
            chosen(bundle)
        assert len(tried) == 2

    def test_each_request_and_each_bundle_has_its_own(
        self, bundle: Bundle, tried: list[Any], tmp_path: Path
    ) -> None:
        other = write_bundle(tmp_path / "other", ("onnx", "fp32"))
        for _ in range(2):
            chosen(bundle)
            chosen(bundle, options=RuntimeOptions(threads=2))
            chosen(bundle, precision="int8")
            chosen(other)
        assert len(tried) == 4

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
    def test_a_damaged_record_is_made_again(
        self, bundle: Bundle, tried: list[Any], data_folder: Path, content: bytes
    ) -> None:
        chosen(bundle)
        (kept,) = (data_folder / "selected").iterdir()
        kept.write_bytes(content)
        assert chosen(bundle) == "openvino fp32"
        assert len(tried) == 2
        Selection.model_validate_json(kept.read_bytes())

    def test_a_folder_that_cannot_be_written(
        self, bundle: Bundle, tried: list[Any], data_folder: Path
    ) -> None:
        data_folder.write_bytes(b"")
        with pytest.warns(SamClipWarning, match="openvino fp32"):
            assert chosen(bundle) == "openvino fp32"

    def test_nothing_that_keeps_its_bounds(
        self, bundle: Bundle, tried: list[Any], data_folder: Path
    ) -> None:
        options = {"runtime": AUTO, "precision": "fp16", "options": DEFAULT}
        refused(lambda: choose_again(bundle, **options), VerificationError, "fp16: it is out")
        assert not data_folder.exists()


class TestDoubt:
    """A busy minute does not decide for ever."""

    @pytest.fixture
    def load(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], str]:
        """Loads while OpenVINO's time varies so: the share of onnxruntime's, and its spread."""
        self.measured = 0

        def load(median: float, share: float = 0.02) -> str:
            def try_candidates(*_: Any, candidates: Any, options: Any) -> tuple[Trial, ...]:
                self.measured += 1
                ratios = (Ratio(median=1, low=1, high=1), spread(median, share=share))
                return tuple(
                    Trial(runtime=each.runtime, precision=each.precision, ratio=ratio)
                    for each, ratio in zip(candidates, ratios, strict=True)
                )

            monkeypatch.setattr(selection, "try_candidates", try_candidates)
            return chosen(bundle)

        return load

    def test_the_next_load_measures_again_until_the_times_tell(
        self, load: Callable[..., str], bundle: Bundle
    ) -> None:
        assert load(1.1, share=0.4) == "onnx fp32"
        known = remembered(bundle, runtime=AUTO, precision=None, options=DEFAULT)
        assert known is not None
        assert "next load" in known.reason
        assert load(0.6) == "openvino fp32"
        assert load(1.1, share=0.4) == "openvino fp32"
        assert self.measured == 2

    def test_what_comes_out_often_enough_is_kept(self, load: Callable[..., str]) -> None:
        assert load(0.95, share=0.4) == "openvino fp32"
        for _ in range(ENOUGH + 2):
            assert load(1.1, share=0.4) == "onnx fp32"
        assert self.measured == 1 + ENOUGH


class TestTrials:
    """The real runtimes on the embedded bundle."""

    def test_loading_takes_the_fastest_and_does_not_warn(self, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with SamClip.load() as model:
                taken = (model.source.runtime, model.source.precision)
        known = remembered(
            open_bundle(DEFAULT_MODEL), runtime=AUTO, precision=None, options=DEFAULT
        )
        assert known is not None
        assert [each.name for each in known.trials] == ["onnx fp32", "openvino fp32"]
        fastest = min(known.trials, key=lambda each: each.ratio.median if each.ratio else math.inf)
        assert taken == (fastest.runtime, fastest.precision) == (known.runtime, known.precision)
        for trial in known.trials:
            assert trial.median_ms is not None
            assert trial.median_ms > 0
            assert trial.ratio is not None
            assert trial.ratio.low <= trial.ratio.median <= trial.ratio.high
            assert len(trial.goldens) > 20
            assert all(each.error is not None for each in trial.goldens)
            assert all(each.error <= each.bound for each in trial.goldens if each.error)
        assert not (tmp_path / "cache" / "samclip-sdk" / "openvino").exists()

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("onnx/mask_decoder.int8.weights", "onnx int8"),
            pytest.param("onnx/mask_decoder.int8.onnx", "no ONNX file", marks=pytest.mark.slow),
        ],
        ids=["computes something else", "does not load"],
    )
    def test_what_is_faulty_is_out(self, tmp_path: Path, path: str, reason: str) -> None:
        size = (TINY_BUNDLE / path).stat().st_size
        shutil.copytree(TINY_BUNDLE, tmp_path / "faulty")
        change_files(tmp_path / "faulty", {path: bytes(size)})
        faulty = open_bundle(tmp_path / "faulty")
        options = RuntimeOptions(threads=1)
        tried = choose_again(faulty, runtime="onnx", precision=AUTO, options=options)
        (out,) = (each for each in tried.trials if each.refused)
        assert (out.name, out.median_ms) == ("onnx int8", None)
        assert reason in out.refused
        assert tried.precision in ("fp32", "fp16")


def test_a_remembered_choice_costs_no_import(data_folder: Path, tried: list[Any]) -> None:
    """Loading stays quick: runtimes and the command line's packages are not touched."""
    chosen(open_bundle(DEFAULT_MODEL))
    program = f"""
import importlib.util, pathlib, sys, platformdirs
platformdirs.user_data_path = lambda *_: pathlib.Path({str(data_folder)!r})
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: name in ("onnxruntime", "openvino") or None
from samclip_sdk import SamClip
assert SamClip.load().source.runtime == "openvino"
print(*{{"onnxruntime", "openvino", "torch", "rich"}} & set(sys.modules))
"""
    done = run_program(program)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_tune(bundle: Bundle, tried: list[Any]) -> None:
    found = answer("tune", "--model", bundle.root, "--precision", "auto")
    assert (found["runtime"], found["precision"]) == ("onnx", "int8")
    printed = table("tune", "--model", bundle.root)
    assert "chosen" in printed
    assert "20.0 ms" in printed


def test_info_tells_what_auto_takes(
    bundle: Bundle, tried: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("info", "--model", bundle.root, "--runtimes")
    assert "onnx fp32, openvino fp32" in answer(*asked)["auto"]
    chosen(bundle)
    assert answer(*asked)["auto"]["runtime"] == "openvino"
    assert "chosen on" in table(*asked)
    install(monkeypatch, "onnxruntime")
    assert "nothing else" in answer(*asked)["auto"]


def test_naming_runtime_and_precision_overrules(bundle: Bundle, tried: list[Any]) -> None:
    for runtime, precision in (("onnx", None), ("onnx", "fp32"), ("onnx", "fp16")):
        source = SamClip.load(runtime, model=bundle.root, precision=precision).source
        assert (source.runtime, source.precision) == ("onnx", precision or "fp32")
    assert not tried
    assert SamClip.load("onnx", model=bundle.root, precision=AUTO).source.precision == "int8"
    assert tried == [["onnx fp32", "onnx fp16", "onnx int8"]]
