"""Which models open on which runtime, and that nothing is run that was not verified."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk import BundleError, OptionError, RuntimeMissingError, SamClip
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.device.opening import open_source
from samclip_sdk.errors import (
    BundleSchemaError,
    BundleTamperedError,
    StorageError,
    UnverifiedArtifactWarning,
)
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.runtimes.source import BundleSource
from tests.example_bundle import contents, manifest, write_files


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Looks like one; nothing here reads it."""
    write_files(tmp_path, {"model.safetensors": b"", "config.json": b"{}"})
    return tmp_path


def write_bundle(folder: Path, *, content: dict[str, Any] | None = None) -> Path:
    write_files(folder, contents())
    (folder / "manifest.json").write_text(json.dumps(content or manifest()))
    return folder


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_a_bundle_opens_on_onnx(tmp_path: Path, runtime: str) -> None:
    folder = write_bundle(tmp_path)
    source = open_source(runtime, model=folder, precision=None)
    assert source.manifest.name == "example"
    assert source.tokenizer_path == folder.resolve() / "tokenizer.json"


def test_unknown_runtimes_and_precisions(tmp_path: Path, checkpoint: Path) -> None:
    known = "auto, onnx, openvino, coreml, tensorrt, torch"
    with pytest.raises(RuntimeMissingError, match=f"no runtime 'tpu': use {known}; a model is"):
        SamClip.load("tpu", model=checkpoint)
    with pytest.raises(BundleError, match=rf"^tpu is no runtime \({known}\), and no model: there"):
        SamClip.load("tpu")
    with pytest.raises(BundleError, match="is a checkpoint"):
        SamClip.load("onnx", model=checkpoint)
    with pytest.raises(BundleError, match="runs in fp32, not in int8"):
        SamClip.load("auto", model=checkpoint, precision="int8")
    with pytest.raises(BundleError, match="not for onnx fp16"):
        SamClip.load("onnx", model=write_bundle(tmp_path / "bundle"), precision="fp16")


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_a_missing_runtime_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "samclip-sdk\[onnx\]"'):
        SamClip.load(runtime, model=tmp_path)


@pytest.mark.parametrize("path", ["onnx/mask_decoder.onnx", "onnx/image_encoder.weights"])
def test_a_changed_or_missing_file_is_told_on_loading(tmp_path: Path, path: str) -> None:
    folder = write_bundle(tmp_path)
    (folder / path).write_bytes(b"changed")
    with pytest.raises(BundleTamperedError, match=path):
        SamClip.load("onnx", model=folder)
    (folder / path).unlink()
    with pytest.raises(BundleError, match="missing"):
        SamClip.load("onnx", model=folder)


def test_a_missing_graph_or_unknown_schema_is_told_on_loading(tmp_path: Path) -> None:
    content = manifest()
    del content["graphs"]["mask_decoder"]
    with pytest.raises(BundleSchemaError, match="mask_decoder is missing"):
        SamClip.load("onnx", model=write_bundle(tmp_path / "graph", content=content))
    with pytest.raises(BundleSchemaError, match="schema version 9"):
        SamClip.load(
            "onnx", model=write_bundle(tmp_path / "v9", content=manifest() | {"schema_version": 9})
        )


def test_without_a_text_encoder_texts_are_an_error(tmp_path: Path) -> None:
    content = manifest()
    del content["graphs"]["text_encoder"]
    model = SamClip.load("onnx", model=write_bundle(tmp_path, content=content))
    with pytest.raises(BundleError, match=r"has no text_encoder: .* load_vocabulary"):
        model.embed_text("dog")


def unproven() -> dict[str, Any]:
    content = manifest()
    (artifact,) = content["graphs"]["text_encoder"]["artifacts"]
    artifact["parity"] = {"measured_on": None, "measurements": []}
    return content


def warned(runtime: str, folder: Path, **options: Any) -> list[str]:
    """What loading says, in the order in which it says it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_source(runtime, model=folder, precision=None, options=RuntimeOptions(**options))
    assert all(issubclass(each.category, UnverifiedArtifactWarning) for each in caught)
    return [str(each.message) for each in caught]


@pytest.fixture
def nothing_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path / "data")


def sign_off(folder: Path, runtime: str, **options: Any) -> None:
    source = BundleSource(
        open_bundle(folder),
        runtime=runtime,
        precision=None,
        options=RuntimeOptions(**options),
        warn=False,
    )
    write_sign_off(source.sign_off_key.path, report="{}")


@pytest.mark.usefixtures("nothing_verified")
class TestWarnings:
    """Loading warns of what was never compared on such a device, until it was verified here."""

    def test_what_the_export_proved_on_a_cpu_needs_no_more(self, tmp_path: Path) -> None:
        assert warned("onnx", write_bundle(tmp_path / "bundle")) == []

    def test_what_it_did_not_prove(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "bundle", content=unproven())
        (message,) = warned("onnx", folder)
        assert f"run `samclip verify --model {folder} --runtime onnx --precision fp32`" in message
        sign_off(folder, "openvino")
        assert warned("onnx", folder)
        sign_off(folder, "onnx")
        assert warned("onnx", folder) == []
        assert warned("onnx", folder, threads=2) == []

    @pytest.mark.other_runtime
    def test_another_runtime(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "bundle")
        assert "on openvino fp32 here" in warned("openvino", folder)[0]
        sign_off(folder, "openvino")
        assert warned("openvino", folder) == []

    @pytest.mark.parametrize(
        ("options", "arguments"),
        [
            ({"device": "cuda:1"}, "--device cuda:1"),
            ({"providers": ["CUDAExecutionProvider"]}, "--provider CUDAExecutionProvider"),
        ],
    )
    def test_another_provider(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
        arguments: str,
    ) -> None:
        """CUDA is not there; that it loads is for others to say."""
        monkeypatch.setattr("samclip_sdk.runtimes.onnx.runtime.check_providers", lambda _: None)
        folder = write_bundle(tmp_path / "bundle")
        sign_off(folder, "onnx")
        (message,) = warned("onnx", folder, **options)
        assert "onnx fp32 CUDAExecutionProvider here" in message
        assert message.endswith(f"--runtime onnx --precision fp32 {arguments}`")
        sign_off(folder, "onnx", **options)
        assert warned("onnx", folder, **options) == []

    @pytest.mark.other_runtime
    @pytest.mark.parametrize("name", ["cpu_name", "runtime_version"])
    def test_another_device_or_version(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        folder = write_bundle(tmp_path / "bundle")
        sign_off(folder, "openvino")
        monkeypatch.setattr(f"samclip_sdk.runtimes.source.{name}", lambda *_: "another one")
        assert "another one" in warned("openvino", folder)[0]


class TestRefusals:
    """Nothing of a bundle is read for options that cannot be, or that its runtime does not take."""

    @pytest.mark.parametrize(
        ("runtime", "options", "message"),
        [
            ("openvino", {"providers": ["CPUExecutionProvider"]}, "openvino does not take provi"),
            ("onnx", {"compute_units": "cpu_only"}, "onnx does not take compute_units='cpu_only'"),
            ("torch", {"threads": 2}, "torch does not take threads=2: call torch.set_num"),
            ("openvino", {"device": "cuda"}, "openvino does not take device='cuda'"),
            ("onnx", {"device": "mps"}, "onnx does not take device='mps'"),
            ("onnx", {"compute_units": "gpu"}, "no compute units 'gpu'; known are all, cpu_only"),
            ("onnx", {"providers": "CPUExecutionProvider"}, "providers is 'CPUExec.*; give a list"),
            ("onnx", {"threads": 1.5}, "threads is 1.5; give a whole number"),
            ("auto", {"threads": -1}, "threads is -1; give a whole number"),
        ],
    )
    def test_an_option(
        self, tmp_path: Path, runtime: str, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            SamClip.load(runtime, model=tmp_path / "none", **options)

    @pytest.mark.parametrize(
        "options", [{"device": "cuda"}, {"providers": ["NoSuchExecutionProvider"]}]
    )
    def test_what_is_not_there(self, tmp_path: Path, options: dict[str, Any]) -> None:
        """On loading, not at the first inference."""
        folder = write_bundle(tmp_path)
        with pytest.raises(RuntimeMissingError, match=r"samclip-sdk\[onnx-gpu\]"):
            SamClip.load("onnx", model=folder, **options)

    @pytest.mark.other_runtime
    def test_core_ml_elsewhere_than_on_a_mac(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.system", lambda: "Linux")
        with pytest.raises(RuntimeMissingError, match="on a Mac only"):
            SamClip.load("coreml")

    def test_auto_has_no_candidate_left(self) -> None:
        with pytest.raises(
            RuntimeMissingError, match="onnx does not take compute_units='cpu_only'"
        ):
            SamClip.load(compute_units="cpu_only")


def test_a_report_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        write_sign_off(tmp_path / "file" / "report.json", report="{}")
