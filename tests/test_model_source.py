"""Which models open on which runtime, and that nothing is run that was not verified."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk import BundleError, RuntimeMissingError, SamClip
from samclip_sdk.auto.opening import open_source
from samclip_sdk.errors import (
    BundleSchemaError,
    BundleTamperedError,
    StorageError,
    UnverifiedArtifactWarning,
)
from samclip_sdk.sign_off import sign_off_path, write_sign_off
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
    with pytest.raises(
        RuntimeMissingError,
        match="no runtime 'tpu': use auto, onnx, openvino, coreml, tensorrt, torch",
    ):
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


def test_warns_of_what_was_never_compared_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a report of this bundle, runtime and precision has passed on this device."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path / "data")
    folder = write_bundle(tmp_path / "bundle", content=unproven())
    with pytest.warns(UnverifiedArtifactWarning, match=r"samclip verify .*bundle --runtime onnx"):
        source = open_source("onnx", model=folder, precision=None)
    for precision, warned in (("fp16", True), ("fp32", False)):
        path = sign_off_path(source.id, runtime="onnx", precision=precision, compute_units="all")
        write_sign_off(path, report="{}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            open_source("onnx", model=folder, precision=None)
        assert bool(caught) == warned


def test_a_report_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        write_sign_off(tmp_path / "file" / "report.json", report="{}")
