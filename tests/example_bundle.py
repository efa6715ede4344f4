"""A bundle without a model: the files are not what they say, but their sha256 are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.bundle.contract import contract_graphs, file_stem
from samclip_sdk.modeling.config import ClipHeadConfig
from tests.tiny_config import STUDENT, TINY

CONFIG = STUDENT.model_copy(
    update={
        "name": "example",
        "embed_dim": 24,
        "classification_resolution": 32,
        "clip_head": ClipHeadConfig(depth=1, hidden_dim=16),
        "mask_decoder": TINY.mask_decoder.model_copy(update={"mask_in_chans": 16}),
        "text_encoder": STUDENT.text_encoder.model_copy(update={"width": 16}),
    }
)


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def write_bundle(folder: Path, content: dict[str, Any] | None = None) -> Path:
    """A whole bundle, of this manifest if there is one."""
    text = json.dumps(content or manifest()).encode()
    write_files(folder, {**contents(), "manifest.json": text})
    return folder


def stored(path: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"path": path, "sha256": sha256, "size_bytes": len(content)}


def account_for(manifest: Any, files: Mapping[str, bytes]) -> None:
    """Writes what files have become into a manifest, as a faulty exporter or an attacker would."""
    if isinstance(manifest, dict) and "sha256" in manifest and manifest["path"] in files:
        manifest.update(stored(manifest["path"], files[manifest["path"]]))
    if isinstance(manifest, (dict, list)):
        for each in manifest.values() if isinstance(manifest, dict) else manifest:
            account_for(each, files)


def change_files(folder: Path, files: dict[str, bytes]) -> None:
    """Changes files of a bundle, and the manifest's account of them."""
    write_files(folder, files)
    content = json.loads((folder / "manifest.json").read_bytes())
    account_for(content, files)
    (folder / "manifest.json").write_text(json.dumps(content))


def onnx_file(note: str) -> bytes:
    """An ONNX file that holds a note of its producer, and no graph."""
    return bytes([0x12, len(note)]) + note.encode()


def contents() -> dict[str, bytes]:
    """Path -> bytes of all files but the manifest."""
    graphs = contract_graphs(CONFIG, resolutions=[32, 64])
    files = {f"onnx/{file_stem(name)}.onnx": onnx_file(f"graph {name}") for name in graphs}
    files["onnx/image_encoder.weights"] = bytes(range(256))
    files["tokenizer.json"] = b"{}"
    return files


def manifest() -> dict[str, Any]:
    """The manifest as JSON, for tests to change."""
    files = contents()
    graphs: dict[str, Any] = {}
    for name, spec in contract_graphs(CONFIG, resolutions=[32, 64]).items():
        path = f"onnx/{file_stem(name)}.onnx"
        weights = "onnx/image_encoder.weights"
        artifact = {
            **stored(path, files[path]),
            "runtime": "onnx",
            "precision": "fp32",
            "weights": [stored(weights, files[weights])] if "image_encoder" in name else [],
            "parity": {
                "measured_on": "a test",
                "measurements": [
                    {"metric": "max_error", "measured": 1e-6, "bound": 1e-4, "better": "lower"}
                ],
            },
        }
        graphs[name] = {**spec.model_dump(mode="json"), "artifacts": [artifact]}
    return {
        "schema_version": 1,
        "name": "example",
        "revision": "1",
        "random_weights": True,
        "model": CONFIG.model_dump(mode="json"),
        "image": {"patch_size": 16},
        "tasks": {"segmentation": {"resolution": 64}, "classification": {"resolution": 32}},
        "text": {"context_length": 77, "templates": ["a photo of a {}."], "logit_scale": 100.0},
        "calibration": {
            "scale": 20.0,
            "bias": 0.2,
            "mask_threshold_score": 0.5,
            "presence_threshold": 0.5,
            "head_only_threshold": 0.4,
        },
        "graphs": graphs,
        "files": [stored("tokenizer.json", files["tokenizer.json"])],
        "licences": [{"part": "weights", "spdx": "Apache-2.0", "source": "a test"}],
        "provenance": {"seed": 0},
    }


def put(content: dict[str, Any], value: object, *keys: Any) -> None:
    """Changes one value of a manifest."""
    part: Any = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
