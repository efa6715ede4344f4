"""Which models open on which runtime, and that nothing is run that was not verified."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk import SamClip, TextError
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.device.opening import open_source
from samclip_sdk.errors import UnverifiedArtifactWarning
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.runtimes.source import BundleSource
from tests.example_bundle import manifest, write_bundle


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_a_bundle_opens_on_onnx(tmp_path: Path, runtime: str) -> None:
    folder = write_bundle(tmp_path)
    source = open_source(runtime, model=folder, precision=None)
    assert source.manifest.name == "example"
    assert source.tokenizer_path == folder.resolve() / "tokenizer.json"


def test_without_a_text_encoder_texts_are_an_error(tmp_path: Path) -> None:
    content = manifest()
    del content["graphs"]["text_encoder"]
    model = SamClip.load("onnx", model=write_bundle(tmp_path, content))
    with pytest.raises(TextError, match=r"'dog' .* has no text_encoder: .* load_vocabulary"):
        model.embed_text("dog")


def unproven() -> dict[str, Any]:
    content = manifest()
    (artifact,) = content["graphs"]["text_encoder"]["artifacts"]
    artifact["parity"] = {"measured_on": None, "measurements": []}
    return content


def warned(runtime: str, folder: Path | str, **options: Any) -> list[str]:
    """What loading says, in the order in which it says it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_source(runtime, model=folder, precision=None, options=RuntimeOptions(**options))
    assert all(issubclass(each.category, UnverifiedArtifactWarning) for each in caught)
    assert all(each.filename == __file__ for each in caught)
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
        folder = write_bundle(tmp_path / "bundle", unproven())
        (message,) = warned("onnx", folder)
        assert f"run `samclip verify --model {folder} --runtime onnx --precision fp32`" in message
        sign_off(folder, "openvino")
        assert warned("onnx", folder)
        sign_off(folder, "onnx")
        assert warned("onnx", folder) == []
        assert warned("onnx", folder, threads=2) == []

    def test_another_runtime(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "bundle")
        assert "on openvino fp32 here" in warned("openvino", folder)[0]
        sign_off(folder, "openvino")
        assert warned("openvino", folder) == []

    def test_of_the_default_model_the_command_needs_no_name(self) -> None:
        (message,) = warned("openvino", DEFAULT_MODEL)
        assert "run `samclip verify --runtime openvino --precision fp32`" in message

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

    @pytest.mark.parametrize("name", ["cpu_name", "runtime_version"])
    def test_another_device_or_version(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        folder = write_bundle(tmp_path / "bundle")
        sign_off(folder, "openvino")
        monkeypatch.setattr(f"samclip_sdk.runtimes.source.{name}", lambda *_: "another one")
        assert "another one" in warned("openvino", folder)[0]
